"""Files that came with a request. They are gone when it has been answered."""

import threading
from typing import IO


class Received:
    """A file of a request. Its name and the type that it claims are not kept: they prove nothing."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._reading = threading.Lock()

    def read(self, most: int) -> bytes:
        """The file, at most so many bytes of it: call it in a thread, for it may be on a disk."""
        with self._reading:
            self._file.seek(0)
            return self._file.read(most)
