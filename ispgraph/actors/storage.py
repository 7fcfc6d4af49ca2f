"""Deleting what nobody is shown any more from the storage for files."""

from ispgraph.actors.run import Run
from ispgraph.adapters.errors import AdapterError
from ispgraph.adapters.storage import open_storage
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.portals import assets


async def sweep(run: Run) -> None:
    """Delete the files of a tenant that have not been shown for a while; each is forgotten when it is gone."""
    storage = open_storage(run.settings)
    if storage is None:
        raise Permanent("There is no storage for files: see ISPGRAPH_STORAGE_DIR and ISPGRAPH_S3_BUCKET.")
    deleted = 0
    while True:
        async with run.transaction() as session:
            files = await assets.unused(session)
        if not files:
            break
        try:
            for file in files:
                await storage.delete(assets.key_of(file))
        except AdapterError as error:
            async with run.transaction() as session:
                await run.fail(session, f"{deleted} files were deleted. {error}")
            return
        async with run.transaction() as session:
            await assets.forget(session, [file.id for file in files])
        deleted += len(files)
    async with run.transaction() as session:
        await run.succeed(session, f"{deleted} files were deleted.")
