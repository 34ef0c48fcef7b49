"""One shared fragment: when it is rendered, for which viewers, and what failure does."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.error_log import ErrorLog
from quart_sse.hub import fragment as fragment_module
from quart_sse.hub.fragment import SharedFragment
from quart_sse.hub.rendered import FragmentSpec, Rendered
from quart_sse.hub.slots import Slots, Turn
from quart_sse.wire.position import ZERO, Id
from tests.support.clock import Jump, all_quiet
from tests.support.streams import until

#: A debounce that no test outlasts unless it moves the clock itself.
LONG = 1000.0


def at(number: int) -> Id:
    """Return the id of the broker's message of that number."""
    return Id(number, 0)


class Stage:
    """A shared fragment of one topic, its data, its renderer and its viewers."""

    def __init__(self, debounce: float = 0.0, every: float | None = None) -> None:
        self.data = 0  #: what the HTML is made of
        self.now = 0  #: number of the broker's last message
        self.begun: list[int] = []  #: of each render, the data when it began
        self.ended = 0
        self.shown: list[str] = []  #: what viewers were sent
        self.has_viewers = True
        self.error: BaseException | None = None  #: what the renderer raises
        self.refusal: Exception | None = None  #: what delivering raises
        self.is_fit = True  #: whether HTML may be handed on
        self.gate = asyncio.Event()  #: renders are held up while it is not set
        self.gate.set()
        self.fragment = SharedFragment(
            "notes?room=7",
            FragmentSpec("list", every=every),
            debounce,
            self,
            ErrorLog(lambda: asyncio.get_running_loop().time()),
        )

    async def render(self, shared: SharedFragment, traces: Sequence[str] = ()) -> Rendered:
        """Make HTML of the data as they were when this began."""
        data = self.data
        self.begun.append(data)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.ended += 1
        if self.error is not None:
            raise self.error
        return Rendered(f"<p>{data}</p>")

    def turn(self, cause: str, is_urgent: bool) -> Turn:
        """Let every render begin."""
        return Slots(1).turn(cause)

    def deliver(self, shared: SharedFragment, is_wanted: bool) -> bool:
        """Note what viewers were sent."""
        if self.refusal is not None:
            raise self.refusal
        assert shared is self.fragment
        assert shared.rendered is not None
        if is_wanted and self.is_fit:
            self.shown.append(shared.rendered.html)
        return self.is_fit

    def is_viewed(self, shared: SharedFragment) -> bool:
        """Tell whether a page shows the fragment."""
        return self.has_viewers

    def change(self) -> Id:
        """Change the data and say so, as a message that the hub received."""
        self.now += 1
        self.data = self.now
        self.fragment.refresh(at(self.now), at(self.now - 1))
        return at(self.now)

    def push(self) -> None:
        """Change the data and publish HTML of it that the publisher rendered."""
        self.now += 1
        self.data = self.now
        self.fragment.push(at(self.now), f"<p>{self.data}</p>")

    async def has_ended(self, count: int) -> None:
        """Wait until so many renders have ended."""
        await until(lambda: self.ended >= count)

    async def has_shown(self, count: int) -> None:
        """Wait until viewers were sent so many versions."""
        await until(lambda: len(self.shown) >= count)

    def ask(self) -> "asyncio.Task[Rendered]":
        """Ask for a fresh render, as a page view does."""
        return asyncio.create_task(self.fragment.render_now())


async def outcome(task: "asyncio.Task[Rendered]") -> str:
    """Return the HTML of a call of ``render_now``."""
    async with asyncio.timeout(5):
        return (await task).html


# -- when it is rendered ---------------------------------------------------------------------------


async def test_first_refresh_is_rendered_at_once() -> None:
    """A change after a quiet time reaches viewers without any delay."""
    stage = Stage(debounce=LONG)

    stage.change()
    await stage.has_shown(1)

    assert stage.shown == ["<p>1</p>"]
    assert stage.fragment.version == at(1)


async def test_storm_of_refreshes_is_rendered_twice(jump: Jump) -> None:
    """A thousand changes cost one render at once and one at the end, which shows the last."""
    stage = Stage(debounce=LONG)

    for _ in range(1000):
        stage.change()
        await asyncio.sleep(0)
    await all_quiet()
    assert stage.begun == [1]

    jump(LONG)
    await stage.has_shown(2)
    jump(10 * LONG)
    await all_quiet()

    assert stage.begun == [1, 1000]
    assert stage.shown == ["<p>1</p>", "<p>1000</p>"]


async def test_lasting_storm_is_rendered_once_per_debounce(jump: Jump) -> None:
    """However long changes go on, there is one render per debounce, and always a last one."""
    stage = Stage(debounce=LONG)
    rounds = 5

    for number in range(rounds):
        for _ in range(200):
            stage.change()
            await asyncio.sleep(0)
        await all_quiet()
        assert len(stage.begun) == number + 1
        jump(LONG)
        await stage.has_ended(number + 2)
    await all_quiet()

    assert stage.begun == [1, *(200 * number for number in range(1, rounds + 1))]
    assert stage.shown[-1] == f"<p>{stage.data}</p>"


async def test_debounce_counts_from_the_last_render(jump: Jump) -> None:
    """A change within the debounce waits for its end, and one after it does not."""
    stage = Stage(debounce=LONG)
    stage.change()
    await stage.has_shown(1)

    jump(0.6 * LONG)
    stage.change()
    await all_quiet()
    assert stage.begun == [1]

    jump(0.5 * LONG)
    await stage.has_shown(2)
    jump(1.5 * LONG)
    stage.change()
    await all_quiet()

    assert stage.begun == [1, 2, 3]


async def test_refresh_during_a_render_causes_another() -> None:
    """HTML that was begun before a change does not answer for it."""
    stage = Stage()
    stage.gate.clear()
    stage.change()
    await until(lambda: stage.begun)

    stage.change()
    stage.change()
    stage.gate.set()
    await stage.has_shown(2)
    await all_quiet()

    assert stage.begun == [1, 3]
    assert stage.shown == ["<p>1</p>", "<p>3</p>"]
    assert stage.fragment.version == at(3)


async def test_without_viewers_nothing_is_rendered() -> None:
    """A process whose viewers are elsewhere only notes that its HTML is outdated."""
    stage = Stage()
    assert await outcome(stage.ask()) == "<p>0</p>"
    assert stage.fragment.is_current(ZERO)
    stage.has_viewers = False

    stage.change()
    await all_quiet()

    assert stage.begun == [0]
    assert stage.fragment.floor is None
    assert not stage.fragment.is_current(ZERO)


async def test_viewers_that_leave_during_the_pause_are_not_rendered_for(jump: Jump) -> None:
    """The last render of a storm is not made if no viewer is left."""
    stage = Stage(debounce=LONG)
    stage.change()
    stage.change()
    await all_quiet()
    stage.change()
    await all_quiet()
    assert stage.begun == [2]

    stage.has_viewers = False
    jump(LONG)
    await until(lambda: stage.fragment.is_idle)

    assert stage.begun == [2]


async def test_viewer_that_lacks_a_change_is_rendered_for() -> None:
    """A viewer that resumes is sent a render that contains what it missed, once."""
    stage = Stage()
    stage.data = 5

    stage.fragment.require(at(5))
    await stage.has_shown(1)
    await all_quiet()

    assert stage.begun == [5]
    assert stage.fragment.version == at(5)
    assert stage.fragment.is_current(at(5))
    assert not stage.fragment.is_current(at(6))


async def test_rerender_is_delivered_although_nothing_changed() -> None:
    """What is asked for without a change is rendered and sent, once."""
    stage = Stage()
    stage.change()
    await stage.has_shown(1)

    stage.fragment.rerender()
    await stage.has_shown(2)
    await all_quiet()

    assert stage.begun == [1, 1]


async def test_every_refreshes_while_there_are_viewers(jump: Jump) -> None:
    """A fragment declared with every= is rendered in that interval, until no page shows it."""
    stage = Stage(every=LONG)

    stage.fragment.start_every()
    jump(0.5 * LONG)
    stage.fragment.start_every()  # as each further viewer does
    await all_quiet()
    assert stage.begun == []

    jump(0.5 * LONG)
    await stage.has_shown(1)
    for number in range(2, 4):
        jump(0.9 * LONG)
        await all_quiet()
        assert len(stage.shown) == number - 1
        jump(0.1 * LONG)
        await stage.has_shown(number)

    stage.has_viewers = False
    for _ in range(3):
        jump(LONG)
        await all_quiet()
    assert len(stage.begun) == 3

    stage.has_viewers = True
    stage.fragment.start_every()
    jump(LONG)
    await stage.has_shown(4)
    await stage.fragment.close()


async def test_every_is_not_begun_without_reason(jump: Jump) -> None:
    """Without every=, or without viewers, nothing is rendered as time goes by."""
    plain, unseen = Stage(), Stage(every=LONG)
    unseen.has_viewers = False

    plain.fragment.start_every()
    unseen.fragment.start_every()
    unseen.has_viewers = True
    jump(10 * LONG)
    await all_quiet()

    assert plain.begun == unseen.begun == []


# -- sharing a render ------------------------------------------------------------------------------


async def test_page_views_share_one_render() -> None:
    """All calls before a render begins get its outcome, and viewers are sent nothing."""
    stage = Stage()
    stage.data = 8

    html = await asyncio.gather(*(outcome(stage.ask()) for _ in range(50)))

    assert html == ["<p>8</p>"] * 50
    assert stage.begun == [8]
    assert stage.shown == []


async def test_page_view_is_given_a_render_begun_after_it() -> None:
    """A call while a render runs does not get that one: it may lack what the caller has done."""
    stage = Stage()
    stage.gate.clear()
    early = stage.ask()
    await until(lambda: stage.begun == [0])
    stage.data = 1  # by the very request that asks next

    late = stage.ask()
    later = stage.ask()
    await all_quiet()
    assert stage.begun == [0]
    stage.gate.set()

    assert await outcome(early) == "<p>0</p>"
    assert await outcome(late) == "<p>1</p>"
    assert await outcome(later) == "<p>1</p>"
    assert stage.begun == [0, 1]


async def test_page_view_does_not_wait_for_the_debounce() -> None:
    """A page is rendered at once, also in the pause after another render."""
    stage = Stage(debounce=LONG)
    stage.change()
    await stage.has_shown(1)
    stage.change()
    await all_quiet()
    assert stage.begun == [1]

    assert await outcome(stage.ask()) == "<p>2</p>"

    assert stage.shown == ["<p>1</p>", "<p>2</p>"]
    await all_quiet()
    assert stage.begun == [1, 2]


async def test_hurried_render_does_not_wait_for_the_debounce() -> None:
    """One that waits begins at once, and once; where none waits nothing is due."""
    stage = Stage(debounce=LONG)
    assert not stage.fragment.hurry()
    stage.change()
    await stage.has_shown(1)
    stage.change()
    await all_quiet()
    assert stage.begun == [1]

    assert stage.fragment.hurry()
    await stage.has_shown(2)
    await all_quiet()

    assert stage.begun == [1, 2]
    assert not stage.fragment.hurry()


async def test_failing_renderer_is_not_hurried() -> None:
    """Its next try is due later, however often a test asks."""
    stage = Stage()
    stage.error = ValueError("broken")
    stage.change()
    await stage.has_ended(1)
    await all_quiet()

    assert not stage.fragment.hurry()
    await all_quiet()

    assert stage.ended == 1


@pytest.mark.parametrize("is_running", [False, True])
async def test_cancelled_page_view_does_not_cancel_the_render(is_running: bool) -> None:
    """A browser that goes away takes nothing from the others that wait for the same render."""
    stage = Stage()
    stage.gate.clear()
    one, other = stage.ask(), stage.ask()
    if is_running:
        await until(lambda: stage.begun)
    else:
        await asyncio.sleep(0)

    one.cancel()
    await asyncio.wait([one])
    stage.gate.set()

    assert one.cancelled()
    assert await outcome(other) == "<p>0</p>"
    assert (len(stage.begun), stage.ended) == (1, 1)


async def test_render_without_callers_is_finished() -> None:
    """The only caller may leave: the render goes on, and its HTML is kept."""
    stage = Stage()
    stage.gate.clear()
    asked = stage.ask()
    await until(lambda: stage.begun)

    asked.cancel()
    await asyncio.wait([asked])
    stage.gate.set()
    await until(lambda: stage.fragment.rendered is not None)

    assert stage.ended == 1


async def test_fragment_is_idle_when_it_is_not_needed() -> None:
    """A fragment can be forgotten when no page shows it and no call waits for it."""
    stage = Stage()
    assert not stage.fragment.is_idle

    stage.has_viewers = False
    assert stage.fragment.is_idle
    stage.gate.clear()
    asked = stage.ask()
    await until(lambda: stage.begun)
    assert not stage.fragment.is_idle

    stage.gate.set()
    await outcome(asked)
    await until(lambda: stage.fragment.is_idle)


# -- push ------------------------------------------------------------------------------------------


async def test_pushed_html_is_delivered_without_a_render() -> None:
    """HTML that a publisher rendered goes to viewers as it is."""
    stage = Stage()

    stage.push()
    await all_quiet()

    assert stage.shown == ["<p>1</p>"]
    assert stage.begun == []
    assert stage.fragment.version == at(1)
    assert stage.fragment.is_current(at(1))


async def test_newest_push_wins() -> None:
    """A push that is older than what is shown, or the same once more, is ignored."""
    stage = Stage()
    stage.fragment.push(at(5), "new")

    stage.fragment.push(at(4), "old")
    stage.fragment.push(at(5), "again")

    assert stage.shown == ["new"]
    assert stage.fragment.rendered == Rendered("new")


async def test_push_during_a_render_wins_over_its_outcome() -> None:
    """A render begun before a push is not shown after it, but its callers still get it."""
    stage = Stage()
    stage.gate.clear()
    asked = stage.ask()
    stage.change()
    await until(lambda: stage.begun)

    stage.push()
    stage.gate.set()

    assert await outcome(asked) == "<p>1</p>"
    await all_quiet()
    assert stage.shown == ["<p>2</p>"]
    assert stage.begun == [1]
    assert stage.fragment.version == at(2)


async def test_refresh_after_a_push_renders_again() -> None:
    """A change after a push is rendered, as after any other change."""
    stage = Stage()
    stage.push()

    stage.change()
    await stage.has_shown(2)

    assert stage.shown == ["<p>1</p>", "<p>2</p>"]


# -- another order of ids --------------------------------------------------------------------------


async def test_what_was_rendered_is_forgotten_with_the_order_of_ids() -> None:
    """After a broker has lost its data nothing is current or missing, and small ids are new."""
    stage = Stage()
    stage.now = 900
    stage.push()
    stage.change()
    assert stage.fragment.floor == at(901)

    stage.fragment.invalidate()

    assert stage.fragment.rendered is None
    assert stage.fragment.floor is None
    assert not stage.fragment.is_current(ZERO)
    stage.fragment.push(at(1), "new")
    assert stage.fragment.version == at(1)
    assert stage.shown[-1] == "new"


async def test_html_is_outdated_until_a_render_that_began_later_has_ended() -> None:
    """Not until one has begun: what is kept meanwhile is still the older one's."""
    stage = Stage()
    stage.has_viewers = False
    stage.gate.clear()
    first = asyncio.create_task(stage.fragment.render_now())
    await until(lambda: stage.begun)
    stage.fragment.outdate()
    stage.data = 1
    second = asyncio.create_task(stage.fragment.render_now())
    earlier, stage.gate = stage.gate, asyncio.Event()
    earlier.set()
    await first
    await until(lambda: len(stage.begun) == 2)
    assert stage.fragment.rendered == Rendered("<p>0</p>")
    assert not stage.fragment.is_current(ZERO)

    stage.gate.set()
    await second
    assert stage.fragment.is_current(ZERO)


async def test_render_begun_in_another_order_of_ids_is_not_kept() -> None:
    """A render that was running meanwhile is given to its callers, but has no version any more."""
    stage = Stage()
    stage.gate.clear()
    asked = stage.ask()
    stage.change()
    await until(lambda: stage.begun)

    stage.fragment.invalidate()
    stage.gate.set()

    assert await outcome(asked) == "<p>1</p>"
    await all_quiet()
    assert stage.fragment.rendered is None
    assert stage.fragment.version == ZERO
    stage.fragment.require(ZERO)
    await stage.has_shown(1)
    assert stage.begun == [1, 1]


# -- what viewers still lack -----------------------------------------------------------------------


async def test_floor_stays_below_the_oldest_refresh_until_it_was_answered() -> None:
    """The position of viewers does not pass a refresh before its HTML was delivered."""
    stage = Stage()
    assert stage.fragment.floor is None
    stage.gate.clear()

    stage.change()
    assert stage.fragment.floor == at(0)
    await until(lambda: stage.begun)
    stage.change()
    stage.change()
    assert stage.fragment.floor == at(0)

    stage.gate.set()
    await stage.has_shown(1)
    stage.gate.clear()
    assert stage.fragment.floor == at(1)
    await until(lambda: len(stage.begun) == 2)
    assert stage.fragment.floor == at(1)

    stage.gate.set()
    await stage.has_shown(2)
    assert stage.fragment.floor is None


async def test_refresh_that_comes_after_the_render_that_answers_it_owes_nothing() -> None:
    """A viewer that joined knew of the change before its message arrived."""
    stage = Stage()
    stage.data = stage.now = 1
    stage.gate.clear()
    stage.fragment.require(at(1))
    await until(lambda: stage.begun == [1])
    stage.fragment.refresh(at(1), at(0))
    assert stage.fragment.floor == at(0)

    stage.gate.set()
    await stage.has_shown(1)
    await all_quiet()

    assert stage.fragment.floor is None
    assert stage.begun == [1]


async def test_push_of_the_newest_state_owes_nothing() -> None:
    """Pushed HTML answers all refreshes before it."""
    stage = Stage()
    stage.gate.clear()
    stage.change()
    await until(lambda: stage.begun)
    stage.change()

    stage.push()

    assert stage.fragment.floor is None


async def test_push_older_than_a_refresh_answers_nothing() -> None:
    """What is newer than pushed HTML is still missing."""
    stage = Stage()
    stage.gate.clear()
    stage.fragment.refresh(at(7), at(6))

    stage.fragment.push(at(5), "pushed")

    assert stage.shown == ["pushed"]
    assert stage.fragment.floor == at(6)


async def test_no_viewer_lacks_anything_when_there_is_none() -> None:
    """When the last viewer has gone, no refresh holds positions back."""
    stage = Stage()
    stage.gate.clear()
    stage.change()
    await until(lambda: stage.begun)
    stage.change()
    assert stage.fragment.floor == at(0)

    stage.fragment.mark_current()

    assert stage.fragment.floor is None


STEPS = st.sampled_from(["change", "change", "push", "other", "finish", "fail", "ask"])


@settings(deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
async def test_position_never_says_more_than_viewers_have(steps: list[str]) -> None:
    """Whatever happens: positions never go back, and all up to them is on the screen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fragment_module, "FIRST_RETRY", 0.0)
        stage, asked, changes = Stage(), [], [0]
        stage.gate.clear()
        before = 0

        for step in steps:
            if step in ("change", "push"):
                getattr(stage, step)()
                changes.append(stage.now)
            elif step == "other":
                stage.now += 1
            elif step == "ask":
                asked.append(stage.ask())
            else:
                stage.error = ValueError("as drawn") if step == "fail" else None
                stage.gate.set()
                await asyncio.sleep(0)
                stage.gate.clear()
            await asyncio.sleep(0)

            floor = stage.fragment.floor
            position = stage.now if floor is None else floor.ms
            newest = max(change for change in changes if change <= position)
            shown = int(stage.shown[-1][3:-4]) if stage.shown else 0
            assert before <= position <= stage.now
            assert shown >= newest
            before = position

        stage.error = None
        stage.gate.set()
        await all_quiet()
        assert stage.fragment.floor is None
        assert changes[-1] == 0 or stage.shown[-1] == f"<p>{changes[-1]}</p>"
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(found, (Rendered, ValueError)) for found in outcomes)


# -- failure ---------------------------------------------------------------------------------------


async def test_failing_renderer_is_logged_and_tried_again(
    jump: Jump, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A renderer that raises is logged by name and tried again ever later, up to a longest wait."""
    monkeypatch.setattr(fragment_module, "FIRST_RETRY", LONG)
    monkeypatch.setattr(fragment_module, "LAST_RETRY", 3 * LONG)
    stage = Stage()
    stage.error = RuntimeError("no database")

    stage.change()
    await stage.has_ended(1)
    for number, delay in enumerate([LONG, 2 * LONG, 3 * LONG, 3 * LONG], start=1):
        jump(0.9 * delay)
        await all_quiet()
        assert stage.ended == number
        jump(0.1 * delay)
        await stage.has_ended(number + 1)
    await all_quiet()

    assert [record.name for record in caplog.records] == ["quart_sse.hub"] * 5
    for record in caplog.records:
        assert record.levelno == logging.ERROR
        assert "'list'" in record.getMessage()
        assert "'notes?room=7'" in record.getMessage()
        assert record.exc_info is not None
        assert record.exc_info[1] is stage.error
    waits = [record.getMessage().rpartition("next try in ")[2] for record in caplog.records]
    assert waits == ["1000 s.", "2000 s.", "3000 s.", "3000 s.", "3000 s."]


async def test_viewers_keep_the_last_good_html_until_a_try_succeeds(
    jump: Jump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure sends nothing and holds positions back; the next success sends the newest."""
    monkeypatch.setattr(fragment_module, "FIRST_RETRY", LONG)
    stage = Stage()
    stage.change()
    await stage.has_shown(1)
    stage.error = RuntimeError("no database")

    stage.change()
    await stage.has_ended(2)
    stage.change()
    await all_quiet()
    assert stage.shown == ["<p>1</p>"]
    assert stage.fragment.rendered == Rendered("<p>1</p>")
    assert stage.fragment.floor == at(1)

    stage.error = None
    jump(LONG)
    await stage.has_shown(2)
    await all_quiet()
    assert stage.shown == ["<p>1</p>", "<p>3</p>"]
    assert stage.fragment.floor is None
    assert len(stage.begun) == 3


async def test_success_makes_the_next_failure_a_first_one(
    jump: Jump, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The delay grows only from failure to failure."""
    monkeypatch.setattr(fragment_module, "FIRST_RETRY", LONG)
    monkeypatch.setattr(fragment_module, "LAST_RETRY", 9 * LONG)
    stage = Stage()

    for error in (ValueError("1"), ValueError("2"), None, ValueError("3")):
        stage.error = error
        stage.change()
        ended = stage.ended
        jump(5 * LONG)
        await stage.has_ended(ended + 1)
        await all_quiet()

    waits = [record.getMessage().rpartition("next try in ")[2] for record in caplog.records]
    assert waits == ["1000 s.", "2000 s.", "1000 s."]


async def test_failure_without_viewers_is_not_tried_again(
    jump: Jump, caplog: pytest.LogCaptureFixture
) -> None:
    """A page view that fails is answered by its own error, and nothing more happens."""
    stage = Stage()
    stage.has_viewers = False
    stage.error = RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        await outcome(stage.ask())
    jump(100 * LONG)
    await all_quiet()

    assert len(stage.begun) == 1
    assert caplog.records == []
    assert stage.fragment.is_idle


async def test_page_view_tries_a_failing_renderer_at_once(
    jump: Jump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call during the wait after a failure causes a retry at once, and viewers get its HTML."""
    monkeypatch.setattr(fragment_module, "FIRST_RETRY", LONG)
    stage = Stage()
    stage.error = RuntimeError("no database")
    stage.change()
    await stage.has_ended(1)
    await all_quiet()

    with pytest.raises(RuntimeError, match="no database"):
        await outcome(stage.ask())
    stage.error = None
    assert await outcome(stage.ask()) == "<p>1</p>"

    assert stage.shown == ["<p>1</p>"]
    assert stage.fragment.floor is None


async def test_all_waiting_calls_get_a_failure() -> None:
    """All calls that shared a failed render get its error, and the next one is fresh."""
    stage = Stage()
    stage.has_viewers = False
    stage.error = RuntimeError("no database")
    asked = [stage.ask() for _ in range(3)]

    failures = await asyncio.gather(*asked, return_exceptions=True)

    assert failures == [stage.error] * 3
    assert len(stage.begun) == 1
    stage.error = None
    assert await outcome(stage.ask()) == "<p>0</p>"


async def test_renderer_that_fails_very_often_is_still_answered_for() -> None:
    """The delay between tries stays finite: page views fail with the renderer's own error."""
    stage = Stage()
    stage.has_viewers = False
    stage.error = RuntimeError("no database")

    for _ in range(1100):
        with pytest.raises(RuntimeError, match="no database"):
            await outcome(stage.ask())

    assert stage.ended == 1100


async def test_renderer_that_cancels_itself_has_failed(
    jump: Jump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renderer that awaited something cancelled leaves no call waiting and is retried."""
    monkeypatch.setattr(fragment_module, "FIRST_RETRY", LONG)
    stage = Stage()
    stage.error = asyncio.CancelledError()
    asked = stage.ask()
    stage.change()

    async with asyncio.timeout(5):
        await asyncio.wait([asked])
    assert asked.done()

    stage.error = None
    jump(LONG)
    async with asyncio.timeout(5):
        await stage.has_shown(1)
    assert stage.shown == ["<p>1</p>"]


async def test_html_that_cannot_be_delivered_keeps_no_page_waiting() -> None:
    """If HTML cannot be sent to viewers, a page that asked for it gets it all the same."""
    stage = Stage()
    stage.refusal = ValueError("cannot be encoded")
    asked = stage.ask()
    stage.change()

    async with asyncio.timeout(5):
        await asyncio.wait([asked])
    assert asked.done()


async def test_html_that_cannot_be_delivered_is_a_failure(
    jump: Jump, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """HTML that viewers cannot be sent is logged by name, still missing, and rendered again."""
    monkeypatch.setattr(fragment_module, "FIRST_RETRY", LONG)
    stage = Stage()
    stage.refusal = ValueError("cannot be encoded")

    stage.change()
    await stage.has_ended(1)
    await all_quiet()
    assert [record.name for record in caplog.records] == ["quart_sse.hub"]
    assert "'list' of topic 'notes?room=7'" in caplog.records[0].getMessage()
    assert stage.fragment.floor == at(0)

    stage.refusal = None
    jump(LONG)
    await stage.has_shown(1)
    assert stage.shown == ["<p>1</p>"]
    assert stage.fragment.floor is None


# -- the end ---------------------------------------------------------------------------------------


async def test_close_stops_rendering(jump: Jump) -> None:
    """After closing, no render runs and none begins by itself."""
    stage = Stage(every=LONG)
    stage.fragment.start_every()
    stage.gate.clear()
    stage.change()
    await until(lambda: stage.begun)

    async with asyncio.timeout(5):
        await stage.fragment.close()
    stage.gate.set()
    jump(10 * LONG)
    await all_quiet()

    assert stage.ended == 0
    assert len(stage.begun) == 1
    assert stage.shown == []


@pytest.mark.parametrize("is_running", [False, True])
async def test_close_keeps_no_page_waiting(is_running: bool) -> None:
    """A call that waits for a render when the server stops is not left waiting."""
    stage = Stage()
    stage.gate.clear()
    asked = [stage.ask()]
    await until(lambda: stage.begun)
    if not is_running:
        asked = [stage.ask()]
        await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await stage.fragment.close()
        await asyncio.wait(asked)

    assert asked[0].done()


async def test_close_of_an_idle_fragment_is_harmless() -> None:
    """A fragment that never did anything can be closed, and closed again."""
    stage = Stage()

    async with asyncio.timeout(5):
        await stage.fragment.close()
        await stage.fragment.close()

    assert stage.begun == []
