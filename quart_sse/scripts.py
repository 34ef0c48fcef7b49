"""The script elements of a page, and the files that they load."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping

from markupsafe import Markup

from .assets import ASSETS
from .config import Config, read_origins
from .host import Host

#: htmx version -> the scripts that a page needs, in their order, by their names in vendor.json:
#: with our own, by which all tabs of a browser share a connection, and without.
_SHARED = {2: ("htmx2", "idiomorph", "shared", "glue"), 4: ("htmx4", "shared", "glue")}
_PLAIN = {2: ("htmx2", "htmx2-sse"), 4: ("htmx4", "htmx4-sse")}

VENDOR: Mapping[str, Mapping[str, str]] = json.loads((ASSETS / "static/vendor.json").read_text())


#: static file -> a hash of its content, for its URL; there are no others
STATIC: Mapping[str, str] = {
    path.relative_to(ASSETS / "static").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in (ASSETS / "static").rglob("*")
    if path.is_file()
}


#: Our own scripts.
_OWN = {"shared": "quart-sse.min.js", "glue": "quart-sse-htmx.min.js"}


def _digest(file: str) -> str:
    """Return that by which a browser takes no other file for one of ours."""
    digest = hashlib.sha384((ASSETS / "static" / file).read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


#: name -> file and digest; of the scripts of others the table states it, whatever has become of
#: the file.
_LOADED = {name: (row["file"], row["integrity"]) for name, row in VENDOR.items()} | {
    name: (file, _digest(file)) for name, file in _OWN.items()
}


class Scripts:
    """Writes script elements for one app.

    Args:
        host: Knows the root path.
        config: The app's settings.
    """

    def __init__(self, host: Host, config: Config) -> None:
        self._host = host
        self._config = config

    def elements(
        self,
        nonce: str | None = None,
        shared: bool = True,
        htmx: bool = True,
        refresh: int | None = None,
        origins: Iterable[str] = (),
        reload: bool = False,
    ) -> Markup:
        """Return the script elements for the htmx version that ``QUART_SSE_HTMX`` names.

        They block, as they must: with ``defer`` or ``async`` htmx 4 may never connect.

        Args:
            nonce: Of the page's Content-Security-Policy, if it has one.
            shared: Whether all tabs of a browser share one connection, by ``quart-sse.js``;
                otherwise each connect element has its own, by htmx's SSE extension.
            htmx: Whether htmx is wanted at all; without it our script swaps fragments in itself.
            refresh: Seconds after which a browser without JavaScript loads the page anew.
            origins: Origins, beside the page's own, whose streams our script opens.
            reload: Whether a page in which nothing has been typed reloads itself when its
                signature has expired, as is right for one that hangs on a wall.

        Raises:
            ValueError: If neither htmx nor our script is wanted, what is given as an origin is
                none, or our script is given an option and not wanted.
        """
        names: tuple[str, ...] = (_SHARED if shared else _PLAIN)[self._config.htmx]
        if not htmx:
            if not shared:
                raise ValueError(
                    "sse_scripts(shared=false, htmx=false) asks for no script at all. Leave it out "
                    "of the template, or leave out one of the two arguments."
                )
            names = ("shared",)
        with_nonce = Markup(' nonce="{}"').format(nonce) if nonce else Markup()
        options = {"shared": _options(shared, origins, reload)}
        elements = [
            Markup('<script src="{}" integrity="{}"{}{}></script>').format(
                self._static_url(_LOADED[name][0]),
                _LOADED[name][1],
                with_nonce,
                options.get(name, ""),
            )
            for name in names
        ]
        if refresh is not None:
            meta = '<noscript><meta http-equiv="refresh" content="{:d}"></noscript>'
            elements.append(Markup(meta).format(refresh))
        return Markup("\n").join(elements)

    def _static_url(self, filename: str) -> str:
        path = f"{self._host.root()}{self._config.url_prefix}/~static/{filename}"
        return f"{path}?v={STATIC[filename][:12]}"


def _options(shared: bool, origins: Iterable[str], reload: bool) -> Markup:
    """Return the attributes by which our script is given its options."""
    if (origins or reload) and not shared:
        raise ValueError(
            "sse_scripts(shared=false) leaves out our script, which origins= and reload= are for. "
            "Leave out that argument, or these."
        )
    try:
        listed = read_origins(origins)
    except (TypeError, ValueError):
        raise ValueError(
            f"origins is {origins!r}. List origins such as 'https://live.example.org', without a "
            "path, in sse_scripts(origins=[...])."
        ) from None
    text = Markup(' data-origins="{}"').format(" ".join(listed)) if listed else Markup()
    return text + Markup(" data-reload") if reload else text
