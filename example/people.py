"""Users: demo accounts without passwords, kept in the session cookie.

A real application would use Quart-Auth or its own sign-in; quart_sse only needs the user's identity
(see `identity` in `example/live.py`).
"""

import secrets
from dataclasses import dataclass

from quart import session


@dataclass(frozen=True, slots=True)
class Person:
    nickname: str
    hue: int  # of the avatar: one of the style sheet's eight
    about: str
    is_moderator: bool = False


ACCOUNTS = {
    person.nickname: person
    for person in (
        Person("mira", 1, "Soil, sensors, too many decimals"),
        Person("tobi", 6, "Repairs first, buys later", is_moderator=True),
        Person("wren", 4, "One laptop in one cupboard"),
        Person("juno", 3, "Calibrates everything"),
        Person("hazel", 0, "Grows things, writes them down", is_moderator=True),
        Person("kip", 2, "Fourth floor, north-east"),
        Person("pell", 5, "Six-euro tools"),
        Person("suri", 7, "Restores backups for fun"),
    )
}


def signed_in_as() -> Person | None:
    """Return the current user, None for a guest."""
    return ACCOUNTS.get(session.get("nickname", ""))


def sign_in(person: Person) -> None:
    session.clear()
    session["nickname"] = person.nickname
    session.permanent = True


def sign_out() -> None:
    session.clear()


def voter(*, remember: bool = False) -> str | None:
    """Return the voter: the nickname, or the random mark in a guest's cookie.

    Args:
        remember: Whether a guest without a mark gets a new one; pages of discussions do so.
    """
    if person := signed_in_as():
        return person.nickname
    if remember:
        session.setdefault("guest", secrets.token_urlsafe(8))
    return f"guest:{session['guest']}" if "guest" in session else None


def may_read(moderators_only: bool) -> bool:
    """Whether the current user may read such a discussion."""
    person = signed_in_as()
    return not moderators_only or (person is not None and person.is_moderator)
