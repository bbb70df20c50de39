"""The two posters, against a stand-in that follows Slack's documented behaviour."""

from __future__ import annotations

import html
import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.fake_slack import CHANNEL, TOKEN, FakeSlack, Fault, commands, refusal, shown

from processors.slack import render
from processors.slack.client import ConsolePoster, SlackPoster
from processors.slack.errors import RateLimitedError, RefusedError, UnavailableError, UnpostableError
from schemas.records import Notification, NotificationField, NotificationKind, Severity

NOW = datetime(2026, 5, 4, 0, 0, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PLAIN = Notification(
    notification_id="n1",
    kind=NotificationKind.ACCEPTED,
    thread="infra/pa/2026-05-04",
    headline="Accepted: Spring sale",
    text="Mina asks to scale infra out.",
    fields=(NotificationField(name="Event", value="Spring sale"),),
    link="https://argo.example/w?a=1&b=2",
    decided_at=NOW,
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slack():
    with FakeSlack() as fake:
        yield fake


@pytest.fixture
def poster(slack):
    return SlackPoster(TOKEN, CHANNEL, slack.url)


class TestPosting:
    def test_a_notification_is_posted_with_blocks_metadata_and_a_fallback_text(self, slack, poster):
        posted = poster.post(PLAIN, None)
        (message,) = slack.messages
        assert (posted.channel, posted.ts, posted.thread_ts) == (CHANNEL, message["ts"], message["ts"])
        assert [b["type"] for b in message["blocks"]] == ["header", "section", "section", "context"]
        assert shown(message).splitlines() == [
            "Accepted: Spring sale",
            "Mina asks to scale infra out.",
            "Event",
            "Spring sale",
            "<https://argo.example/w?a=1&b=2|Open the run>",
        ]
        assert message["metadata"] == {
            "event_type": "peaktime_notification",
            "event_payload": {"id": "n1", "kind": "ACCEPTED"},
        }
        assert message["text"].startswith("Accepted: Spring sale\nMina asks")
        (arguments,) = [a for method, a in slack.calls if method == "chat.postMessage"]
        assert (arguments["parse"], arguments["link_names"], arguments["mrkdwn"]) == ("none", False, False)

    @pytest.mark.parametrize(("severity", "mark"), [(Severity.ERROR, "🔴 "), (Severity.WARNING, "🟠 ")])
    def test_what_is_loud_is_marked(self, slack, poster, severity, mark):
        poster.post(replace(PLAIN, severity=severity), None)
        assert slack.messages[0]["blocks"][0]["text"]["text"] == f"{mark}Accepted: Spring sale"

    def test_a_reply_goes_into_its_thread(self, slack, poster):
        root = poster.post(PLAIN, None)
        reply = poster.post(replace(PLAIN, notification_id="n2"), root.ts)
        assert slack.messages[1]["thread_ts"] == root.ts
        assert reply.thread_ts == root.ts
        assert reply.ts != root.ts

    def test_a_reply_to_a_deleted_message_starts_a_new_thread(self, slack, poster):
        root = poster.post(PLAIN, None)
        slack.delete(root.ts)
        reply = poster.post(replace(PLAIN, notification_id="n2"), root.ts)
        assert reply.thread_ts == reply.ts

    def test_a_channel_name_is_looked_up_once_over_all_pages(self, slack):
        slack.page = 1
        poster = SlackPoster(TOKEN, "#peaktime", slack.url)
        assert poster.open() == poster.open() == CHANNEL
        assert slack.called("conversations.list") == 2

    def test_a_permalink_is_asked_for_and_not_worth_an_error(self, slack, poster):
        posted = poster.post(PLAIN, None)
        assert poster.permalink(posted) == f"https://ws.slack.test/archives/{CHANNEL}/p{posted.ts.replace('.', '')}"
        slack.fail("chat.getPermalink", Fault(status=429, retry_after=1))
        assert poster.permalink(posted) == ""


HOSTILE = "<!channel> <!here> <@U012345> <#C012345> <https://evil.example|here> @channel & <script> *bold* `x`"


class TestUsersWords:
    def test_nothing_that_a_user_wrote_is_acted_on_and_nothing_is_lost(self, slack, poster):
        fields = (NotificationField(name="Event", value=HOSTILE), NotificationField(name=HOSTILE, value=HOSTILE))
        poster.post(replace(PLAIN, headline=HOSTILE, text=HOSTILE, fields=fields, link=""), None)
        (message,) = slack.messages
        assert commands(message) == []
        assert shown(message).count(HOSTILE) == 5
        parts = [p for b in message["blocks"] for p in [b.get("text"), *b.get("fields", [])] if p]
        assert {part["type"] for part in parts} == {"plain_text"}  # where *, _ and ` mean themselves

    def test_a_link_that_is_none_is_shown_as_words(self, slack, poster):
        poster.post(replace(PLAIN, link="javascript:alert(1)|<!channel>"), None)
        (message,) = slack.messages
        assert commands(message) == []
        assert "javascript:alert(1)|<!channel>" in shown(message)

    def test_control_characters_are_written_out(self):
        assert render.escape("a\x07b\x1b[31m\u202ec\u2028") == "a\\x07b\\x1b[31m\\u202ec\\u2028"
        assert render.escape("봄 세일 👩\u200d👩\u200d👧\tx\ny") == "봄 세일 👩\u200d👩\u200d👧\tx\ny"

    @settings(deadline=None)
    @given(
        headline=st.text(max_size=400),
        text=st.text(max_size=9000),
        fields=st.lists(st.tuples(st.text(max_size=60), st.text(max_size=4000)), max_size=60),
        link=st.sampled_from(["", "https://argo.example/w", "https://x/" + "y" * 5000]),
    )
    def test_no_message_is_beyond_slacks_limits_and_none_holds_a_command(self, headline, text, fields, link):
        notification = replace(
            PLAIN,
            headline=headline,
            text=text,
            link=link,
            fields=tuple(NotificationField(name=n, value=v) for n, v in fields),
        )
        blocks, fallback = render.blocks(notification), render.text(notification)
        assert refusal({"blocks": blocks, "text": fallback}) == ""
        assert len(fallback) <= 4000
        found = commands({"blocks": blocks, "text": fallback})
        assert [c for c in found if not c.endswith("|Open the run>")] == []

    @given(st.text(max_size=400), st.integers(10, 50))
    def test_chunks_hold_everything_but_blank_pieces(self, text, limit):
        pieces = render.chunks(text, limit)
        assert all(len(piece) <= limit for piece in pieces)
        whole = render.visible(text)
        assert "".join("".join(map(html.unescape, pieces)).split()) == "".join(whole.split())

    @pytest.mark.parametrize("length", [20_000, 100_000])
    def test_a_text_that_is_too_long_says_how_much_is_missing(self, length):
        notification = replace(PLAIN, text="\n".join("x" * 99 for _ in range(length // 100)))
        blocks = render.blocks(notification)
        assert refusal({"blocks": blocks}) == ""
        assert any("more characters" in b["text"]["text"] for b in blocks if "text" in b)
        assert "more characters" in render.text(notification)
        assert blocks[-1]["type"] == "context"


class TestFailures:
    def test_too_many_messages(self, slack, poster):
        slack.fail("chat.postMessage", Fault(status=429, retry_after=7, error="ratelimited"))
        with pytest.raises(RateLimitedError) as caught:
            poster.post(PLAIN, None)
        assert caught.value.retry_after == 7

    @pytest.mark.parametrize("code", ["invalid_auth", "channel_not_found", "missing_scope", "is_archived"])
    def test_what_somebody_has_to_mend_names_the_next_step(self, slack, poster, code):
        slack.fail("chat.postMessage", Fault(error=code))
        with pytest.raises(RefusedError, match=code) as caught:
            poster.post(PLAIN, None)
        assert caught.value.remedy
        assert caught.value.code == code

    def test_a_wrong_token_and_an_unknown_channel(self, slack):
        with pytest.raises(RefusedError, match="PEAKTIME_SLACK_TOKEN"):
            SlackPoster("xoxb-wrong", CHANNEL, slack.url).post(PLAIN, None)
        with pytest.raises(RefusedError, match="PEAKTIME_SLACK_CHANNEL"):
            SlackPoster(TOKEN, "#nowhere", slack.url).open()

    def test_a_missing_scope_is_named(self, slack, poster):
        slack.missing_scopes["conversations.history"] = "channels:history"
        with pytest.raises(RefusedError, match="channels:history"):
            poster.find("n1", None, LONG_AGO)

    @pytest.mark.parametrize("code", ["invalid_blocks", "msg_too_long", "msg_blocks_too_long", "a_new_word"])
    def test_a_message_that_slack_does_not_take(self, slack, poster, code):
        slack.fail("chat.postMessage", Fault(error=code), Fault(error=code))
        with pytest.raises(UnpostableError) as caught:
            poster.post(PLAIN, None)
        assert caught.value.code == code
        with pytest.raises(RefusedError if code == "a_new_word" else UnpostableError):
            poster.post(PLAIN, None, plain=True)

    def test_the_plain_form_has_no_blocks(self, slack, poster):
        poster.post(PLAIN, None, plain=True)
        assert slack.messages[0]["blocks"] == []
        assert "Event: Spring sale" in slack.messages[0]["text"]

    @pytest.mark.parametrize(
        ("fault", "maybe_posted"),
        [
            (Fault(drop="after"), True),
            (Fault(drop="before"), True),
            (Fault(status=503, body="<html>away</html>"), True),
            (Fault(body="<html>a proxy says hello</html>"), True),
            (Fault(error="internal_error"), True),
            (Fault(error="service_unavailable"), False),
        ],
    )
    def test_what_passes_says_whether_the_message_may_have_arrived(self, slack, poster, fault, maybe_posted):
        slack.fail("chat.postMessage", fault)
        with pytest.raises(UnavailableError) as caught:
            poster.post(PLAIN, None)
        assert caught.value.maybe_posted is maybe_posted
        assert slack.called("chat.postMessage") == 1  # never repeated by the library

    def test_a_refused_connection_posted_nothing(self, slack):
        url = slack.url
        slack.close()
        with pytest.raises(UnavailableError) as caught:
            SlackPoster(TOKEN, CHANNEL, url).post(PLAIN, None)
        assert not caught.value.maybe_posted


class TestFinding:
    def test_a_message_is_found_by_its_id_over_all_pages(self, poster):
        posted = [poster.post(replace(PLAIN, notification_id=f"n{i}"), None) for i in range(5)]
        assert poster.find("n0", None, LONG_AGO) == posted[0].ts
        assert poster.find("n4", None, LONG_AGO) == posted[4].ts
        assert poster.find("n9", None, LONG_AGO) is None

    def test_a_reply_is_found_in_its_thread(self, poster):
        root = poster.post(PLAIN, None)
        reply = poster.post(replace(PLAIN, notification_id="n2"), root.ts)
        assert poster.find("n2", root.ts, LONG_AGO) == reply.ts
        assert poster.find("n2", None, LONG_AGO) is None  # Slack lists replies with their thread only

    def test_a_reply_whose_thread_was_deleted_is_found_in_the_channel(self, slack, poster):
        root = poster.post(PLAIN, None)
        slack.delete(root.ts)
        reply = poster.post(replace(PLAIN, notification_id="n2"), root.ts)
        assert poster.find("n2", root.ts, LONG_AGO) == reply.ts

    def test_what_was_posted_before_is_not_looked_at(self, poster):
        posted = poster.post(PLAIN, None)
        assert poster.find("n1", None, datetime.fromtimestamp(float(posted.ts) + 1, UTC)) is None

    def test_somebody_elses_metadata_is_not_ours(self, slack, poster):
        poster.post(PLAIN, None)
        slack.messages[0]["metadata"]["event_type"] = "something_else"
        assert poster.find("n1", None, LONG_AGO) is None


class TestConsole:
    def line(self, notification, thread_ts=None, **kwargs):
        out = io.StringIO()
        poster = ConsolePoster(Console(file=out, highlight=False, width=40), now=lambda: NOW)
        posted = poster.post(notification, thread_ts, **kwargs)
        return posted, out.getvalue()

    def test_one_line_for_a_message(self):
        posted, line = self.line(PLAIN)
        assert line == "● Accepted: Spring sale  Mina asks to scale infra out.  https://argo.example/w?a=1&b=2\n"
        assert (posted.channel, posted.ts, posted.thread_ts) == ("console", "1777852800.000000", "1777852800.000000")

    def test_a_reply_is_marked_and_stays_in_its_thread(self):
        posted, line = self.line(PLAIN, "5.0")
        assert line.startswith("  ↳ Accepted")
        assert posted.thread_ts == "5.0"

    def test_neither_markup_nor_the_terminal_obey_a_user(self):
        _, line = self.line(replace(PLAIN, headline="[bold]x[/] \x1b[2J", text="a\nb", link=""))
        assert line == "● [bold]x[/] \\x1b[2J  a · b\n"

    def test_a_console_remembers_nothing(self):
        poster = ConsolePoster(Console(file=io.StringIO()))
        assert poster.find("n1", None, LONG_AGO) is None
        assert poster.permalink(poster.post(PLAIN, None, plain=True)) == ""
