"""The script elements of a page, and the files that they load."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping

from markupsafe import Markup

from ..config import Config, read_origins
from ..errors import MacroError
from ..host import Host
from .assets import ASSETS

#: htmx version -> names of the scripts of a page, in loading order; vendor.json has those of
#: others. With quart-sse.js, through which all tabs of a browser share a connection; without it.
_SHARED = {2: ("htmx2", "idiomorph", "shared", "glue"), 4: ("htmx4", "shared", "glue")}
_PLAIN = {2: ("htmx2", "htmx2-sse"), 4: ("htmx4", "htmx4-sse")}

VENDOR: Mapping[str, Mapping[str, str]] = json.loads((ASSETS / "static/vendor.json").read_text())


#: Static file -> SHA-256 of its content, for its URL. Files that are not here are not served.
STATIC: Mapping[str, str] = {
    path.relative_to(ASSETS / "static").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in (ASSETS / "static").rglob("*")
    if path.is_file()
}


#: Name -> file of the scripts that are not third-party.
_OWN = {
    "shared": "quart-sse.min.js",
    "glue": "quart-sse-htmx.min.js",
    "debug": "quart-sse-debug.js",  # says in the browser's console why a page is not live
}


def _digest(file: str) -> str:
    """Return the file's subresource-integrity digest (https://www.w3.org/TR/SRI/)."""
    digest = hashlib.sha384((ASSETS / "static" / file).read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


#: Name -> file and digest. The digests of third-party scripts come from vendor.json, so that
#: browsers refuse a file that was changed after it was vendored.
_LOADED = {name: (row["file"], row["integrity"]) for name, row in VENDOR.items()} | {
    name: (file, _digest(file)) for name, file in _OWN.items()
}


class Scripts:
    """Write the script elements of one app's pages.

    Args:
        host: The framework, which has the current request's root path.
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
        """Return the script elements for ``QUART_SSE_HTMX``; ``sse_scripts``.

        The scripts block parsing: with ``defer`` or ``async`` htmx 4 may never connect.

        Args:
            nonce: The nonce of the page's Content-Security-Policy, or None.
            shared: Whether all tabs of a browser share one connection, through ``quart-sse.js``;
                otherwise htmx's SSE extension opens one per connect element.
            htmx: Whether the page loads htmx; without it ``quart-sse.js`` replaces fragments.
            refresh: Seconds after which browsers without JavaScript reload the page; None for
                never.
            origins: Further origins whose streams the script may open.
            reload: Whether the page reloads itself when its token has expired and the user has
                typed nothing, for pages on a wall display.

        Raises:
            MacroError: If ``shared`` and ``htmx`` are both false, ``origins`` or ``reload`` is
                given with ``shared=False``, or an origin is malformed.
        """
        names: tuple[str, ...] = (_SHARED if shared else _PLAIN)[self._config.htmx]
        if not htmx:
            if not shared:
                raise MacroError(
                    "sse_scripts(shared=false, htmx=false) loads no script at all. Remove the call "
                    "from the template, or one of the two arguments."
                )
            names = ("shared",)
        if shared and self._host.is_debug:
            names = ("debug", *names)
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
    """Return the attributes from which quart-sse.js reads its options."""
    if (origins or reload) and not shared:
        raise MacroError(
            "sse_scripts(shared=false) does not load quart-sse.js, to which origins= and reload= "
            "apply. Remove shared=false, or these."
        )
    try:
        listed = read_origins(origins)
    except (TypeError, ValueError):
        raise MacroError(
            f"origins is {origins!r}. List origins such as 'https://live.example.org', without a "
            "path, in sse_scripts(origins=[...])."
        ) from None
    text = Markup(' data-origins="{}"').format(" ".join(listed)) if listed else Markup()
    return text + Markup(" data-reload") if reload else text
