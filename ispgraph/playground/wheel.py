"""The playground goes into the wheel: npm builds it while the wheel is built, where Node.js is. README.md has more."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PlaygroundHook(BuildHookInterface[Any]):
    """Run by hatchling before it packs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, unless this is an editable install. Without Node.js the small page of the API is all there is."""
        folder = Path(self.root) / "ispgraph" / "playground"
        npm = shutil.which("npm")
        if version == "editable" or self.target_name != "wheel":
            return
        if npm is None:
            self.app.display_warning("npm is not there: the wheel has the small playground only")
            return
        for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run([npm, *command], cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                shutil.rmtree(folder / "built", ignore_errors=True)
                self.app.display_warning(f"npm {command[0]} failed: the wheel has the small playground only")
                self.app.display_warning((done.stdout + done.stderr)[-2000:])
                return
