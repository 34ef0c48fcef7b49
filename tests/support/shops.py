"""Sites of shops whose lists and numbers are refreshed on events."""

from dataclasses import dataclass
from typing import Any, TypedDict

from tests.support.sites import Site


@dataclass
class Order:
    """An order of one shop."""

    id: int
    shop: int
    note: str | None = None


class Gone(TypedDict):
    """An order that was taken back."""

    id: int


class Shop(Site):
    """A process of the site; shops have orders, and numbers that follow from them."""

    def __init__(self, url: str, **config: Any) -> None:
        super().__init__(url, **config)
        sse = self.sse
        self.orders = sse.channel("orders", "/orders/<int:shop>", public=True)
        self.stats = sse.channel("stats", "/stats/<int:shop>", public=True)
        self.renders: list[str] = []
        self.created = self.orders.event("created", Order)
        self.gone = self.orders.event("gone", Gone)
        self.orders.event("noted")
        self.asked: list[object] = []  #: data that the functions were given

        @self.orders.fragment("list", on=["created", "gone"])
        def orders(shop: int) -> str:
            self.renders.append(f"list of {shop}")
            return f"list {len(self.renders)}"

        @self.orders.fragment("count", on=self.created)
        def count(shop: int) -> str:
            return "count"

        @self.stats.fragment("sum")
        def total(shop: int) -> str:
            return "sum"

        self.stats.fragment("chart")(lambda shop: "chart")

        @self.stats.refresh_on(self.created, "sum")
        def of_order(order: Order) -> dict[str, Any]:
            self.asked.append(order)
            return {"shop": order.shop}

        @self.stats.refresh_on("everyone.closed")
        async def of_all(shops: Any) -> list[dict[str, Any]] | None:
            self.asked.append(shops)
            return None if shops is None else [{"shop": shop} for shop in shops]
