"""Fetch the scripts of other projects that quart_sse ships, and write their table.

    python scripts/vendor.py

`static/vendor.json` is the one table: it maps the key by which quart_sse asks for a script to
its name, npm package, version, path in that package, licence, file and digest. To take a newer
version, change `version` there and run this; it needs `npm` on the PATH. It

1. packs each package by name and version with `npm pack`,
2. copies the script, byte for byte, to `static/vendor/<name>-<version>.min.js`,
3. writes `file` and `integrity` (as `<script integrity>` takes it) into the table,
4. writes the licence texts, one for each package, to `static/vendor/LICENSES.txt`,
5. removes what is left of older versions.

The suite compares every file with the table, so a file changed by hand is noticed.
"""

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

STATIC = Path(__file__).resolve().parents[1] / "static"
TABLE = STATIC / "vendor.json"
FOLDER = STATIC / "vendor"
LICENSES = FOLDER / "LICENSES.txt"


def pack(package: str, version: str, folder: Path) -> tarfile.TarFile:
    """Download one package and open it.

    Args:
        package: Name at the npm registry.
        version: Exact version.
        folder: Where the archive is put.

    Returns:
        The open archive; npm has compared it with the digest that its registry states.
    """
    command = ["npm", "pack", "--silent", f"{package}@{version}"]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return tarfile.open(folder / done.stdout.strip())


def read(archive: tarfile.TarFile, path: str) -> bytes:
    """Return one file of an npm package.

    Raises:
        KeyError: If the package holds nothing of that name.
        IsADirectoryError: If it is a folder.
    """
    member = archive.extractfile(f"package/{path}")
    if member is None:
        raise IsADirectoryError(path)
    return member.read()


def integrity(content: bytes) -> str:
    """Return the digest of a script in the form of Subresource Integrity.

    See https://www.w3.org/TR/sri-2/#integrity-metadata-description
    """
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def main() -> None:
    """Bring `static/vendor/` and the table up to what the table asks for."""
    table: dict[str, dict[str, str]] = json.loads(TABLE.read_text("utf-8"))
    FOLDER.mkdir(exist_ok=True)
    files: dict[Path, bytes] = {}
    licenses: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for entry in table.values():
            with pack(entry["package"], entry["version"], Path(folder)) as archive:
                content = read(archive, entry["source"])
                title = f"{entry['package']} {entry['version']} ({entry['license']})"
                licenses[title] = read(archive, "LICENSE").decode("utf-8").strip()
            entry["file"] = f"vendor/{entry['name']}-{entry['version']}.min.js"
            entry["integrity"] = integrity(content)
            files[STATIC / entry["file"]] = content
    files[LICENSES] = "\n\n".join(
        f"{title}\n{'-' * len(title)}\n\n{text}\n" for title, text in licenses.items()
    ).encode()

    for stale in set(FOLDER.iterdir()) - set(files):
        stale.unlink()
    for path, content in files.items():
        path.write_bytes(content)
        print(f"{path.relative_to(STATIC.parent)}: {len(content)} bytes")
    TABLE.write_text(json.dumps(table, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
