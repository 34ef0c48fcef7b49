"""Where templates and static files are found."""

from quart_sse.pages.assets import ASSETS


def test_templates_and_static_files_are_side_by_side() -> None:
    """In a checkout they lie beside the package, in a wheel inside it; here is the checkout."""
    assert (ASSETS / "templates" / "quart_sse" / "macros.html").is_file()
    assert (ASSETS / "static" / "quart-sse.min.js").is_file()
    assert (ASSETS / "pyproject.toml").is_file()
