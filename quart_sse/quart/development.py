"""Live templates: in development, a changed template is shown at once."""

import contextlib
from pathlib import Path

from quart import Quart

from ..hub import Hub


class TemplateWatcher:
    """Renders what pages show again when a template has changed.

    It looks at the files of the templates that Jinja has loaded, so no further watcher or setting
    is needed. Which fragment uses which template is not known; all that are shown are rendered.

    Args:
        app: The app, whose Jinja environment reloads changed templates in debug mode.
        hub: Renders.

    Example:
        ``housekeeping.add(TemplateWatcher(app, hub).poll)``
    """

    def __init__(self, app: Quart, hub: Hub) -> None:
        self._app = app
        self._hub = hub
        self._stale: set[tuple[str, float]] = set()

    def poll(self) -> None:
        """Render if a template has changed since it was loaded, once for each change."""
        known, self._stale = self._stale, self._look()
        if self._stale - known:
            self._hub.render_all()

    def _look(self) -> set[tuple[str, float]]:
        """Return file and time of the change of every loaded template that has changed."""
        cache = self._app.jinja_env.cache
        stale = set()
        for template in list(cache.values()) if cache is not None else ():
            if template.filename is not None and not template.is_up_to_date:
                with contextlib.suppress(OSError):  # while an editor replaces the file
                    stale.add((template.filename, Path(template.filename).stat().st_mtime))
        return stale
