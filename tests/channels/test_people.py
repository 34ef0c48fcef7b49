"""The people of a topic, by whom its connections count as."""

from quart_sse import Person
from quart_sse.broker import Who
from quart_sse.channels.people import count_people, identities, people_of


def test_people_are_counted_by_what_connections_count_as() -> None:
    """A visitor without a cookie is the browser once it has sent the cookie, else the address."""
    names = ["+ada", "-b", "@h1:b", "@h1:c", "@h1:d", "@h1:", "@h2:e", "+@h2:e", "+-b"]

    assert count_people(names) == len({"+ada", "-b", "@h1", "@h2", "+@h2:e", "+-b"})
    assert count_people([]) == 0
    assert identities(names) == {"ada", "@h2:e", "-b"}


def test_each_person_has_its_connections_and_metadata() -> None:
    """Those with an identity come first; what a page shows is no part of a person."""
    counts = {
        Who("+bob").write(): 1,
        Who("+ada", '{"name": "Ada"}').write(): 2,
        Who("+ada", '{"name": "Ada"}', is_showing=True).write(): 1,
        Who("-b", '{"name": "guest"}').write(): 1,
        Who("@h1:b").write(): 1,
        Who("@h1:c", is_showing=True).write(): 4,
    }

    people = people_of(counts)

    assert people[:2] == [Person("ada", 3, {"name": "Ada"}), Person("bob", 1)]
    assert sorted(each.connections for each in people[2:]) == [2, 4]
    assert [each.identity for each in people[2:]] == [None, None]
    assert count_people(counts) == len(people)
    assert identities(counts) == {"ada", "bob"}
