"""The extension's rules at every host and subdomain for which the app has rules of its own.

Pages load scripts and open streams from their own host, by URLs without one. Quart matches a rule
at one host or subdomain only, so the extension's rules are needed at each.
"""

from collections.abc import Callable
from typing import Any

from quart import Quart, has_request_context, request
from werkzeug.routing import Rule

#: Variable of the host in rules for hosts that no rule of the app names.
ANY = "_sse_host"


class HostRules:
    """Repeat the rules of the extension at the hosts of one app.

    Args:
        app: The app.
        is_ours: Whether an endpoint is one of the extension's.
    """

    def __init__(self, app: Quart, is_ours: Callable[[str], bool]) -> None:
        self._app = app
        self._is_ours = is_ours

    def install(self) -> None:
        """Let ``url_for`` find the rules, too."""
        if self._app.url_map.host_matching:
            self._app.url_defaults(self._fill_in_host)

    def repeat(self) -> None:
        """Add each rule at the hosts and subdomains that have rules and lack this one."""
        url_map = self._app.url_map
        rules = list(url_map.iter_rules())
        domains = dict.fromkeys(self._domain(rule) for rule in rules)
        if url_map.host_matching:
            domains[f"<{ANY}>"] = None
        there = {(rule.rule, rule.endpoint, self._domain(rule)) for rule in rules}
        for rule in rules:
            if not self._is_ours(rule.endpoint):
                continue
            for domain in domains:
                key = rule.rule, rule.endpoint, domain
                if key not in there:
                    there.add(key)
                    self._add(rule, domain)

    def _domain(self, rule: Rule) -> str:
        return (rule.host if self._app.url_map.host_matching else rule.subdomain) or ""

    def _add(self, rule: Rule, domain: str) -> None:
        at = "host" if self._app.url_map.host_matching else "subdomain"
        self._app.add_url_rule(
            rule.rule,
            rule.endpoint,
            methods=sorted(rule.methods or ()),
            provide_automatic_options=getattr(rule, "provide_automatic_options", None),
            **{at: domain},  # type: ignore[arg-type]
        )

    def _fill_in_host(self, endpoint: str, values: dict[str, Any]) -> None:
        """Let ``url_for`` lead to the host of the request."""
        if has_request_context() and self._is_ours(endpoint):
            values.setdefault(ANY, request.host)
