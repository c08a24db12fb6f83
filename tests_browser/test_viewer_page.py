"""The page at ``/v1/docs/`` in a real browser. What must hold of every look is in ``browser_kit.looking``."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browser_kit import TOKEN, Look, Server, looking, open_server
from crush_trio.server.openapi.viewer import read_page

HOSTILE = '<img src=x onerror="window.ran = 1"><script>window.ran = 1</script></pre><b id=bad>&amp;'
HEALTH = "GET /v1/health"


@pytest.fixture
def look(browser: Browser, server: Server) -> Generator[Look]:
    """A look at the drawn page: the refusal before the token is the only one."""
    with looking(browser, server, refusals=(401,)) as look:
        look.open()
        look.show()
        expect(look.page.locator("h2", has_text="events")).to_be_visible()
        yield look


def document(server: Server) -> dict[str, Any]:
    """Return what the server describes."""
    request = urllib.request.Request(
        f"{server.origin}/v1/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def create(look: Look, project: Path) -> str:
    """Create a workspace through the page; return its id."""
    operation = look.operation("POST /v1/workspaces")
    operation.fill("Body", json.dumps({"path": str(project), "client_id": str(uuid.uuid4())}))
    operation.send()
    expect(operation.answer()).to_contain_text("200")
    return json.loads(operation.answer().inner_text().partition("\n")[2])["id"]


def accessible(page: Page) -> list[tuple[str, str]]:
    """Return the role and the name of everything on the page that the browser tells to a reader."""
    session: Any = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]


def widest(page: Page) -> tuple[int, list[str]]:
    """Return by how many pixels the page is wider than the window, and what reaches out of it."""
    more = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    out = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((one) =>
             one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5
             || (one.clientWidth && one.tagName !== "INPUT" && one.scrollWidth > one.clientWidth + 1)
           ).map((one) => one.outerHTML.slice(0, 200))"""
    )
    return more, out


@pytest.mark.parametrize("path", ["/v1/docs", "/v1/docs/"])
def test_without_a_token_the_page_says_that_it_needs_one_and_where_to_type_it(
    browser: Browser, server: Server, path: str
) -> None:
    """It is loaded under its policy, draws nothing that it was not given, and waits in the field."""
    with looking(browser, server, refusals=(401,)) as look:
        with look.page.expect_response(server.origin + path) as loaded:
            look.open(path)
        assert loaded.value.headers["content-security-policy"] == read_page()[1].decode()
        expect(look.page.get_by_role("alert")).to_have_text(
            "This server asks for a token: type it above and press Show."
        )
        expect(look.page.get_by_label("token")).to_be_focused()
        assert look.page.locator("details").count() == 0
        assert look.asked() == [("GET", path), ("GET", "/v1/openapi.json")]


def test_a_wrong_token_is_said_to_be_wrong_and_the_right_one_mends_it(
    browser: Browser, server: Server
) -> None:
    """The word about the wrong one goes away."""
    with looking(browser, server, refusals=(401, 401)) as look:
        look.open()
        look.show("another-token")
        alert = look.page.get_by_role("alert")
        expect(alert).to_have_text(re.compile("refused this token"))
        look.show()
        expect(look.page.locator("details").first).to_be_visible()
        expect(alert).to_be_empty()


def test_a_server_without_a_token_is_drawn_at_once(browser: Browser, tmp_path: Path) -> None:
    """Nobody is asked for what is not needed."""
    with open_server(tmp_path, "--no-token") as server:
        with looking(browser, server) as look:
            look.open()
            operation = look.operation("GET /v1/version")
            operation.send()
            expect(operation.answer()).to_contain_text(re.compile(r'^200[^{]*\{"version"'))


def test_every_operation_and_every_event_is_drawn(look: Look) -> None:
    """Each method of each path of the document once, and nothing else."""
    described = document(look.server)
    operations = sorted(
        f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item
    )
    assert len(operations) > 50
    drawn = look.page.locator("summary:has(.method)").evaluate_all(
        "all => all.map(one => one.children[0].textContent + ' ' + one.children[1].textContent)"
    )
    assert sorted(drawn) == operations
    events = look.page.locator("summary:not(:has(.method))").all_inner_texts()
    assert sorted(events) == sorted(described["x-events"])
    look.open_all()
    assert look.page.get_by_role("button", name=re.compile("^Send ")).count() == len(operations)


def test_a_get_is_sent_with_the_token_and_its_answer_is_shown(look: Look, project: Path) -> None:
    """Also one whose path has a field."""
    workspace = create(look, project)
    operation = look.operation("GET /v1/workspaces/{workspace_id}")
    operation.fill("workspace_id", workspace)
    operation.send()
    shown = operation.answer().inner_text()
    assert shown.startswith("200")
    told = json.loads(shown.partition("\n")[2])
    assert (told["id"], told["path"]) == (workspace, str(project))
    sent = look.requests[-1]
    assert (sent.method, sent.headers["authorization"]) == ("GET", f"Bearer {TOKEN}")
    assert look.asked()[-1] == ("GET", f"/v1/workspaces/{workspace}")


def test_a_post_carries_the_body_that_was_typed(look: Look, project: Path) -> None:
    """The session is there afterwards, with the title that was typed."""
    workspace = create(look, project)
    operation = look.operation("POST /v1/workspaces/{workspace_id}/sessions")
    operation.fill("workspace_id", workspace)
    operation.fill("Body", '{"title": "typed by hand: žluťoučký"}')
    operation.send()
    expect(operation.answer()).to_contain_text('"title":"typed by hand: žluťoučký"')
    sent = look.requests[-1]
    assert sent.headers["content-type"] == "application/json"
    assert sent.post_data_json == {"title": "typed by hand: žluťoučký"}


def test_an_error_is_shown_with_its_status_and_its_message(
    browser: Browser, server: Server
) -> None:
    """A path that nobody has, and a body that is no JSON."""
    with looking(browser, server, refusals=(401, 404, 400)) as look:
        look.open()
        look.show()
        unknown = look.operation("GET /v1/workspaces/{workspace_id}")
        unknown.fill("workspace_id", "nowhere/..?x=1")
        unknown.send()
        expect(unknown.answer()).to_contain_text(re.compile(r'^404[^{]*\{"message":".+"\}'))
        assert look.asked()[-1] == ("GET", "/v1/workspaces/nowhere%2F..%3Fx%3D1")
        broken = look.operation("POST /v1/workspaces")
        broken.fill("Body", "{no json")
        broken.send()
        expect(broken.answer()).to_contain_text(re.compile(r'^400[^{]*\{"message":".+"\}'))


def test_a_needed_field_that_is_empty_is_asked_for_and_nothing_is_sent(look: Look) -> None:
    """An empty field of a path would make it another path."""
    operation = look.operation("GET /v1/workspaces/{workspace_id}")
    before = look.asked()
    operation.send()
    expect(operation.field("workspace_id")).to_be_focused()
    assert look.asked() == before


def test_an_event_stream_is_shown_as_it_comes_and_can_be_stopped(look: Look, project: Path) -> None:
    """It has no end of its own; while it is open the page goes on."""
    workspace = create(look, project)
    stream = look.operation("GET /v1/workspaces/{workspace_id}/events")
    stream.fill("workspace_id", workspace)
    stream.fill("client_id", str(uuid.uuid4()))
    stream.fill("ids", "1")
    stream.send()
    log = stream.box.get_by_role("log")
    expect(log).to_contain_text("hello")
    health = look.operation(HEALTH)
    health.send()
    expect(health.answer()).to_contain_text("200")
    stream.box.get_by_role("button", name="Stop").click()
    expect(stream.answer()).to_contain_text("(stopped)")


def test_a_hostile_answer_is_drawn_as_text(look: Look, project: Path) -> None:
    """A title that is markup comes back, is shown as it was typed, and makes no element."""
    workspace = create(look, project)
    made = look.operation("POST /v1/workspaces/{workspace_id}/sessions")
    made.fill("workspace_id", workspace)
    made.fill("Body", json.dumps({"title": HOSTILE}))
    made.send()
    shown = made.answer().inner_text()
    assert json.loads(shown.partition("\n")[2])["title"] == HOSTILE
    assert look.page.locator("main :is(img, script, b)").count() == 0
    assert look.page.evaluate("window.ran") is None


def test_a_hostile_document_is_drawn_as_text(browser: Browser, server: Server) -> None:
    """In every place of it that the page shows."""
    described = document(server)
    hostile: dict[str, Any] = json.loads(
        json.dumps(
            {
                "info": {"description": "a description" + HOSTILE},
                "components": described["components"],
                "paths": {
                    "/v1/path" + HOSTILE: {
                        "post": {
                            "summary": "a summary" + HOSTILE,
                            "tags": ["a tag" + HOSTILE],
                            "parameters": [
                                {
                                    "name": "a name" + HOSTILE,
                                    "in": "query",
                                    "required": False,
                                    "description": "a hint" + HOSTILE,
                                }
                            ],
                            "requestBody": {
                                "content": {
                                    "application/json": {"schema": {"const": "a body" + HOSTILE}}
                                }
                            },
                            "responses": {
                                "200": {
                                    "content": {
                                        "a kind" + HOSTILE: {
                                            "schema": {"const": "a reply" + HOSTILE}
                                        }
                                    }
                                }
                            },
                        }
                    }
                },
                "x-events": {"an event" + HOSTILE: {"const": "a payload" + HOSTILE}},
            }
        )
    )

    def answer(route: Route) -> None:
        route.fulfill(json=hostile)

    with looking(browser, server) as look:
        look.page.route("**/v1/openapi.json", answer)
        look.open()
        look.open_all()
        text = look.page.locator("main").inner_text()
        for place in ("a description", "/v1/path", "a summary", "a tag", "a name", "a kind"):
            assert place + HOSTILE in text
        assert "an event" + HOSTILE in text
        for place in ("a reply", "a payload"):
            assert json.dumps(place + HOSTILE) in text
        assert look.page.get_by_label("Body").input_value() == json.dumps("a body" + HOSTILE)
        assert look.page.locator("input").last.get_attribute("placeholder") == "a hint" + HOSTILE
        assert look.page.locator("main :is(img, script, b)").count() == 0
        assert look.page.evaluate("window.ran") is None


def test_the_policy_stops_what_gets_into_the_page_all_the_same(
    browser: Browser, server: Server
) -> None:
    """A script, a handler, a picture, and a request to another origin; the browser says so of each."""
    with looking(browser, server, refusals=(401,), complaint="Content Security Policy") as look:
        look.open()
        look.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.ran = 1";
                const handler = document.createElement("p");
                handler.setAttribute("onclick", "window.ran = 1");
                const picture = document.createElement("img");
                picture.src = "/v1/health";
                document.body.append(script, handler, picture);
                handler.click();
            }"""
        )
        elsewhere = server.origin.replace("127.0.0.1", "localhost")
        refused = look.page.evaluate(
            "url => fetch(url).then(() => 'answered', () => 'refused')", f"{elsewhere}/v1/health"
        )
        assert refused == "refused"
        assert look.page.evaluate("window.ran") is None
        said = " ".join(look.complaints)
        for stopped in (
            "inline script",
            "inline event handler",
            "/v1/health'",
            "connect-src 'self'",
        ):
            assert stopped in said


def test_the_page_can_be_used_with_the_keyboard_alone(browser: Browser, server: Server) -> None:
    """Type the token, Enter, Tab to an operation, Enter, Tab to Send, Enter."""
    with looking(browser, server, refusals=(401,)) as look:
        look.open()
        keyboard = look.page.keyboard
        keyboard.type(TOKEN)
        keyboard.press("Enter")
        expect(look.page.locator("details").first).to_be_visible()
        reached: list[str] = []
        count = look.page.locator("summary").count()
        for _ in range(count + 1):  # the first Tab is for Show
            keyboard.press("Tab")
            reached.append(look.page.evaluate("document.activeElement.innerText"))
        assert reached == ["Show", *look.page.locator("summary").all_inner_texts()]
        place = next(at for at, text in enumerate(reversed(reached)) if "/v1/health" in text)
        for _ in range(place):
            keyboard.press("Shift+Tab")
        keyboard.press("Enter")
        send = look.page.get_by_role("button", name=f"Send {HEALTH}", exact=True)
        expect(send).to_be_visible()
        keyboard.press("Tab")
        expect(send).to_be_focused()
        keyboard.press("Enter")
        log = look.page.get_by_role("log", name=f"Answer to {HEALTH}", exact=True)
        expect(log).to_contain_text("200")


def test_every_field_and_button_has_a_name_of_its_own(look: Look) -> None:
    """As the browser tells it to who cannot see the page; two buttons never share one."""
    look.open_all()
    names: dict[str, list[str]] = {"textbox": [], "button": []}
    for role, name in accessible(look.page):
        if role in names:
            names[role].append(name)
    fields = look.page.locator("input, textarea").count()
    assert len(names["textbox"]) == fields
    assert all(names["textbox"])
    assert len(names["button"]) == look.page.get_by_role("button").count()
    assert all(names["button"])
    assert len(set(names["button"])) == len(names["button"])


def test_nothing_reaches_out_of_a_narrow_window(
    browser: Browser, server: Server, project: Path
) -> None:
    """A telephone's 320 pixels, with everything open and a long answer without a space in it."""
    with looking(browser, server, refusals=(401,), width=320) as look:
        look.open()
        look.show()
        expect(look.page.locator("details").first).to_be_visible()
        workspace = create(look, project)
        operation = look.operation("POST /v1/workspaces/{workspace_id}/sessions")
        operation.fill("workspace_id", workspace)
        operation.fill("Body", json.dumps({"title": "x" * 400}))
        operation.send()
        expect(operation.answer()).to_contain_text("x" * 400)
        look.open_all()
        assert widest(look.page) == (0, [])
