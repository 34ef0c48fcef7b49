"""What ``scripts/tools.sh`` does on a machine that lacks the programs of the tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/tools.sh"
PROGRAMS = (
    *(
        "redis-server",
        "nginx",
        "haproxy",
        "caddy",
        "prometheus",
        "chromium",
        "firefox-esr",
        "WebKitWebDriver",
        "Xvfb",
    ),
)

#: Stands in for the package manager, whose real one would change the machine: notes its orders.
APT_GET = """#!/bin/sh
echo "$*" >>"{log}"
case "$*" in
    *update*) exit {update} ;;
    *) exit {install} ;;
esac
"""


class Machine:
    """A machine of which the script sees one folder of programs.

    Args:
        folder: The folder; it gets what the script calls, but no program of the tests.
        update: Exit status of fetching the package lists.
        install: Exit status of installing.
    """

    def __init__(self, folder: Path, *, update: int = 0, install: int = 0) -> None:
        self.folder = folder
        self.log = folder / "log"
        for program in ("bash", "env", "sh"):
            found = shutil.which(program)
            assert found
            (folder / program).symlink_to(found)
        self.add("apt-get", APT_GET.format(log=self.log, update=update, install=install))
        self.add("id", "#!/bin/sh\necho 0\n")  # the user may install
        self.add("systemctl", "#!/bin/sh\n")

    def add(self, program: str, source: str = "#!/bin/sh\n") -> None:
        """Put a program into the folder."""
        path = self.folder / program
        path.write_text(source)
        path.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            [str(self.folder / "bash"), str(SCRIPT)],
            env={**os.environ, "PATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    @property
    def orders(self) -> list[str]:
        """What the package manager was asked for: "update", or what to install."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return ["update" if " update" in line else line.partition(" install ")[2] for line in lines]


def test_package_lists_are_fetched_once_before_the_first_program_is_installed(
    tmp_path: Path,
) -> None:
    """A list that came with the machine is old, and names old programs."""
    machine = Machine(tmp_path)

    done = machine.run()

    assert done.returncode == 0, done.stderr
    assert machine.orders[0] == "update"
    (installed,) = machine.orders[1:]
    assert {"redis-server", "chromium", "webkit2gtk-driver"} <= set(installed.split())


def test_nothing_is_fetched_where_nothing_is_missing(tmp_path: Path) -> None:
    """A machine that has every program needs no network."""
    machine = Machine(tmp_path, update=100, install=100)
    for program in PROGRAMS:
        machine.add(program)

    done = machine.run()

    assert (done.returncode, machine.orders) == (0, [])


def test_missing_network_is_named_and_old_lists_are_tried(tmp_path: Path) -> None:
    """Packages that are kept on the machine install without a network, too."""
    machine = Machine(tmp_path, update=100)

    done = machine.run()

    assert done.returncode == 0
    assert len(machine.orders) == 2
    assert "could not be fetched: is there no network?" in done.stderr


@pytest.mark.parametrize(("update", "names_network"), [(100, True), (0, False)])
def test_failed_install_names_the_programs_and_the_remedy(
    tmp_path: Path, update: int, names_network: bool
) -> None:
    """The network is named as the cause only where the lists could not be fetched either."""
    machine = Machine(tmp_path, update=update, install=100)

    done = machine.run()

    assert done.returncode == 1
    assert "xvfb could not be installed, and the tests need them" in done.stderr
    assert ("Connect to the network" in done.stderr) is names_network
