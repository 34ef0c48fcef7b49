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
from .page_request import PageRequest, Pages

#: What each page begins with whose tabs share a connection.
_CORE = ("shared", "head")
#: Those that need not be there when the page is painted.
_DEFERRED = frozenset({"sent", "glue", "morph"})
#: htmx version -> names of the scripts of a page, in loading order; vendor.json has those of
#: others. With quart-sse.js, through which all tabs of a browser share a connection; without it.
_SHARED = {
    2: ("htmx2", *_CORE, "sent", "glue", "morph"),
    4: ("htmx4", *_CORE, "sent", "glue", "morph"),
}
_PLAIN = {2: ("htmx2", "htmx2-sse"), 4: ("htmx4", "htmx4-sse")}

VENDOR: Mapping[str, Mapping[str, str]] = json.loads((ASSETS / "static/vendor.json").read_text())


#: Content coding (RFC 9110, 8.4) -> suffix of the copies that ``make script`` has compressed by it,
#: the smallest first.
COMPRESSED: Mapping[str, str] = {"br": ".br", "gzip": ".gz"}
#: Static file -> SHA-256 of its content, for its URL. Files that are not here are not served.
STATIC: Mapping[str, str] = {
    path.relative_to(ASSETS / "static").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in (ASSETS / "static").rglob("*")
    if path.is_file() and path.suffix not in COMPRESSED.values()
}


#: Name -> file of the scripts that are not third-party.
_OWN = {
    "shared": "quart-sse.min.js",
    "head": "quart-sse-head.min.js",
    "sent": "quart-sse-sent.min.js",
    "morph": "quart-sse-morph.min.js",
    "glue": "quart-sse-htmx.min.js",
    "reload": "quart-sse-reload.min.js",
    "stream": "quart-sse-stream.min.js",
    "debug": "quart-sse-debug.js",  # says in the browser's console why a page is not live
    "off": "quart-sse-off.min.js",
    "list": "quart-sse-list.min.js",
    "personal": "quart-sse-personal.min.js",
    "refused": "quart-sse-refused.min.js",
    "seen": "quart-sse-seen.min.js",
    "shadow": "quart-sse-shadow.min.js",
    "update": "quart-sse-update.min.js",
    "notifications": "quart-sse-notifications.min.js",
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


#: The stylesheet of notifications.
_STYLESHEET = "quart-sse-notifications.css"
_STYLESHEET_DIGEST = _digest(_STYLESHEET)


class Scripts:
    """Write the script elements of one app's pages.

    All pages load quart-sse.js. What it does for some pages only is in *further files*, which the
    macro that needs one notes in the page, and a connect element brings.

    Args:
        host: The framework, which has the current request's root path.
        config: The app's settings.
        pages: The page of each request, with the further files that it needs.
    """

    def __init__(self, host: Host, config: Config, pages: Pages) -> None:
        self._host = host
        self._config = config
        self._pages = pages

    def elements(
        self,
        nonce: str | None = None,
        shared: bool = True,
        htmx: bool | str = True,
        refresh: int | None = None,
        origins: Iterable[str] = (),
        reload: bool = False,
        streams: bool = False,
    ) -> Markup:
        """Return the script elements for ``QUART_SSE_HTMX``; ``sse_scripts``.

        Those that connect and that watch the page block parsing, in this order; those that put
        HTML into it are deferred.

        Args:
            nonce: The nonce of the page's Content-Security-Policy, or None.
            shared: Whether all tabs of a browser share one connection, through ``quart-sse.js``;
                otherwise htmx's SSE extension opens one per connect element.
            htmx: Whether these load htmx, or ``"own"`` if the page loads an htmx of its own, of
                the version that ``QUART_SSE_HTMX`` says; fragments are kept current without it,
                too.
            refresh: Seconds after which browsers without JavaScript reload the page; None for
                never.
            origins: Further origins whose streams the script may open.
            reload: Whether the page reloads itself when its token has expired and the user has
                typed nothing, for pages on a wall display.
            streams: Whether scripts of the page open streams of their own, by
                ``QuartSSE.open``; ``sse_stream`` needs it only where htmx brings it later.

        Raises:
            MacroError: If ``shared`` and ``htmx`` are both false, ``htmx`` is another text than
                ``"own"``, or ``"own"`` with ``shared=False``; ``origins``, ``reload`` or
                ``streams`` is given with ``shared=False``, or an origin is malformed.
        """
        names = self._names(shared, htmx)
        version = self._config.htmx if htmx else 0
        options = {"shared": _options(shared, version, origins, reload or streams)}
        if reload:
            names = (*names, "reload")
        if streams:
            names = (*names, "stream")
            self._pages.current().loaded.add("stream")
        if shared and self._host.is_debug:
            names = ("debug", *names)
        if shared:
            self._pages.current().nonce = nonce or ""
        elements = [self._element(name, nonce, options.get(name, "")) for name in names]
        if refresh is not None:
            meta = '<noscript><meta http-equiv="refresh" content="{:d}"></noscript>'
            elements.append(Markup(meta).format(refresh))
        return Markup("\n").join(elements)

    def _names(self, shared: bool, htmx: bool | str) -> tuple[str, ...]:
        """Return the names of the scripts that hold the connection and change the page.

        Raises:
            MacroError: If these options have no meaning, or none together.
        """
        if htmx not in (True, False, "own"):
            raise MacroError(f"htmx is {htmx!r}. Write true, false or 'own' in sse_scripts().")
        if not shared and not htmx:
            raise MacroError(
                "sse_scripts(shared=false, htmx=false) loads no script at all. Remove the call "
                "from the template, or one of the two arguments."
            )
        if not shared and htmx == "own":
            raise MacroError(
                "sse_scripts(shared=false) loads htmx's SSE extension, which must come after htmx. "
                "Remove shared=false, or htmx='own'."
            )
        names: tuple[str, ...] = (_SHARED if shared else _PLAIN)[self._config.htmx]
        if htmx == "own":
            return names[1:]
        return names if htmx else (*_CORE, "sent", "morph")

    def take_further(self, page: PageRequest, is_boosted: bool = False) -> tuple[Markup, str]:
        """Return how a connect element brings the further files that the page needs.

        A page gets their script elements. An answer to htmx does not, because the browser obeys
        the nonce of the page that it is swapped into; there quart-sse.js loads the files.

        Args:
            page: The page; the files count as brought from now on.
            is_boosted: Whether a page gets the elements that htmx fetches for a boosted link, too,
                because no connect element of it would load the files.

        Returns:
            The script elements to stand before the connect element, and the element's
            ``data-sse-files``: for each file its name, its name with version as it lies beside
            quart-sse.js, and its integrity.
        """
        names, page.files = sorted(page.files), set()
        is_part = self._host.header("HX-Request") and not (
            is_boosted and self._host.header("HX-Boosted")
        )
        elements = Markup() if is_part else self._missing(page, names)
        return elements, ",".join(map(self.named, names))

    def bring(self, page: PageRequest, name: str) -> Markup:
        """Return the script element of a further file that stands for itself, if the page lacks it.

        Args:
            page: The page, which has the file from now on.
            name: The file's name.
        """
        return Markup() if self._host.header("HX-Request") else self._missing(page, [name])

    def _missing(self, page: PageRequest, names: Iterable[str]) -> Markup:
        """Return the elements of files that the page lacks; it must have its scripts first."""
        if page.nonce is None:
            return Markup()
        new = [name for name in names if name not in page.loaded]
        page.loaded.update(new)
        return Markup().join(self._element(name, page.nonce) for name in new)

    def stylesheet(self) -> Markup:
        """Return the element that loads the stylesheet of notifications."""
        nonce = self._pages.current().nonce
        return Markup('<link rel="stylesheet" href="{}" integrity="{}" crossorigin{}>').format(
            self._url(_STYLESHEET),
            _STYLESHEET_DIGEST,
            Markup(' nonce="{}"').format(nonce) if nonce else "",
        )

    def _url(self, file: str) -> str:
        return f"{self._host.root()}{self._config.url_prefix}/~static/{_version(file)}"

    @staticmethod
    def named(name: str) -> str:
        """Return a further file as ``quart-sse.js`` reads it, in an element or a message.

        Args:
            name: The file's name, such as ``"reload"``.
        """
        file, integrity = _LOADED[name]
        return f"{name} {_version(file)} {integrity}"

    def _element(self, name: str, nonce: str | None, options: str = "") -> Markup:
        file, integrity = _LOADED[name]
        # A frame that is sandboxed has no origin, so integrity needs CORS there.
        return Markup('<script src="{}" integrity="{}" crossorigin{}{}{}></script>').format(
            self._url(file),
            integrity,
            Markup(' nonce="{}"').format(nonce) if nonce else "",
            options,
            Markup(" defer") if name in _DEFERRED else "",
        )


def _version(file: str) -> str:
    """Return a static file's name with its version, by which browsers may keep it for ever."""
    return f"{file}?v={STATIC[file][:12]}"


def _options(shared: bool, version: int, origins: Iterable[str], further: bool) -> Markup:
    """Return the attributes from which quart-sse.js reads its options."""
    if (origins or further) and not shared:
        raise MacroError(
            "sse_scripts(shared=false) does not load quart-sse.js, to which origins=, reload= and "
            "streams= apply. Remove shared=false, or these."
        )
    try:
        listed = read_origins(origins)
    except (TypeError, ValueError):
        raise MacroError(
            f"origins is {origins!r}. List origins such as 'https://live.example.org', without a "
            "path, in sse_scripts(origins=[...])."
        ) from None
    options = {
        "files": Scripts.named("shadow"),
        "htmx": str(version or ""),
        "origins": " ".join(listed),
    }
    return Markup().join(
        Markup(' data-{}="{}"').format(name, value) for name, value in options.items() if value
    )
