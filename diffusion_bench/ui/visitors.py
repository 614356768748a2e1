"""Who asks: one visitor of a shared app, told from the others."""

from __future__ import annotations

from gradio.context import LocalContext


def visitor() -> str:
    """Return what tells apart who asks now; empty outside of a handler of the page.

    It is the login where there is one, else the page's session: then each tab is a visitor.
    Behind a share link every address is the tunnel's and guests have one name, but each login has a
    token of its own, which all tabs of a browser send. A session is what a page says that it is.
    """
    asked = LocalContext.request.get(None)
    if asked is None:
        return ""
    request = asked.request
    if asked.username is None or request is None:
        return f"session {asked.session_hash}"
    # Looked up as Gradio does, so that no cookie of a guest's own making counts.
    name = f"-{request.app.cookie_id}"
    cookies = request.cookies
    token = cookies.get(f"access-token{name}") or cookies.get(f"access-token-unsecure{name}")
    return f"login {token}"
