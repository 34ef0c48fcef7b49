"""Operators, who look at the inspector of a site."""

import re
from typing import TYPE_CHECKING

from quart import request

from tests.support.sites import Site

if TYPE_CHECKING:
    from quart.testing import QuartClient

#: Begins every URL.
URL = "/sse/~inspector"


def may_inspect() -> bool:
    """Allow operators, as a cookie says that a test may change at any time."""
    return request.cookies.get("who", "").startswith("op")


class Operator:
    """An operator's browser.

    Args:
        site: The process that the browser reaches.
        who: The operator.
    """

    def __init__(self, site: Site, who: str = "op-ada") -> None:
        self.client: QuartClient = site.client(who)

    async def look(self, page: str = "", status: int = 200) -> str:
        """Return the HTML of a page."""
        answer = await self.client.get(f"{URL}{page}")
        assert answer.status_code == status
        return await answer.get_data(as_text=True)

    async def act(self, id: str, action: str, status: int = 303, **fields: str) -> str:
        """Fill in a form on the page of a connection, and return what comes back."""
        html = await self.look(f"/connection?id={id}")
        (csrf, *_) = re.findall(r'name="csrf" value="(\w+)"', html)
        form = {"csrf": csrf, "id": id, "action": action, **fields}
        answer = await self.client.post(f"{URL}/~act", form=form)
        assert answer.status_code == status, await answer.get_data(as_text=True)
        return answer.headers.get("Location") or await answer.get_data(as_text=True)
