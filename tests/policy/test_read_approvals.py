"""What a file says of approvals, and what is answered to what makes no sense."""

from __future__ import annotations

import pytest

from sidecar.policy.model import Approval, Approvals, Granting, Webhook
from tests.policy.test_read import of_rule, policy, problems, rule

GRANT = "{for: 1h, calls: 10, same: [args.instId]}"


def of_grant(text: str) -> list[str]:
    return of_rule(f"- action: require_approval\n  grant: {text}")


# What is understood.


def test_what_holds_when_nothing_is_said() -> None:
    unsaid = Approvals(1800, 600, 0, False, (), None, "error")
    assert policy("tools: {}").approvals == policy("approvals: {}").approvals == unsaid
    assert policy("tools: {}").approvals.place is None
    place = policy("tools: {}\napprovals: {}").approvals.place
    assert place is not None
    assert place.line == 2


def test_all_that_a_file_says() -> None:
    made = policy("""\
approvals:
  timeout: 30d
  use_within: 90s
  hold: 10m
  four_eyes: true
  mask: [args.key, "args.cards[*].number"]
  answer: result
  notify: {webhook: {url: "https://example.org/hook?to=desk", secret_env: HOOK}}
""").approvals
    mask = (("key",), ("cards", None, "number"))
    hook = Webhook("https://example.org/hook?to=desk", "HOOK")
    assert made == Approvals(30 * 86400, 90, 600, True, mask, hook, "result")


def test_a_rule_may_have_its_own_approvers_and_time() -> None:
    assert rule("{action: require_approval}").approval == Approval(None, 1)
    assert rule("{action: require_approval, approvers: 2, approval_timeout: 5m}").approval == Approval(300, 2)


def test_a_rule_may_offer_standing_approvals() -> None:
    made = rule(f"{{action: require_approval, grant: {GRANT}}}").approval
    assert made == Approval(None, 1, Granting(3600, 10, (("instId",),), ()))
    text = """{for: 90, calls: 10000, same: [args.a.b, 'args["x.y"]'], at_most: [args.sz, args.px]}"""
    made = rule(f"{{action: require_approval, grant: {text}}}").approval
    assert made == Approval(None, 1, Granting(90, 10_000, (("a", "b"), ("x.y",)), (("sz",), ("px",))))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/x", "http://localhost/x", "http://[::1]:1/x", "http://127.9.9.9/"]
)
def test_a_webhook_on_this_machine_needs_no_tls(url: str) -> None:
    assert problems(f"approvals: {{notify: {{webhook: {{url: '{url}', secret_env: S}}}}}}") == []


# What is wrong is answered with what to write.


@pytest.mark.parametrize(("text", "advice"), [
    ("{}", "a grant needs for and calls and same: for is missing"),
    ("", "a grant needs for and calls and same: same is missing"),
    ("{calls: 1, same: [args.a]}", "for is missing"), ("{for: 1h, same: [args.a]}", "calls is missing"),
    ("{for: 1h, calls: 1}", "same is missing"),
    ("{for: 1h, calls: 1, same: }", "same is missing"),
    ("{for: 1h, calls: 1, same: []}", "name at least one argument whose value has to be the same"),
    ("{for: soon, calls: 1, same: [args.a]}", "write as 90s, 15m, 12h"),
    ("{for: 31d, calls: 1, same: [args.a]}", '"31d" is too long: write 30d at most'),
    ("{for: 1h, calls: 0, same: [args.a]}", "a count is a whole number above 0"),
    ("{for: 1h, calls: 10001, same: [args.a]}", "10001 calls are too many: 10000 at most"),
    ("{for: 1h, calls: 1, same: [instId]}", "write args.instId"),
    ("{for: 1h, calls: 1, same: args.a}", "must be a list"),
    ("{for: 1h, calls: 1, same: [state.t.n]}", "is no path"),
    ("{for: 1h, calls: 1, same: [principal.subject]}", "is no path"),
    ("{for: 1h, calls: 1, same: ['args.orders[*].id']}", "[*] stands for many: write args.orders"),
    ("{for: 1h, calls: 1, same: [args.a], at_most: ['args.n[*]']}", "[*] stands for many: write args.n"),
    ("{for: 1h, calls: 1, same: [args.a, args.a]}", "stands under same already: remove one of the two"),
    ("{for: 1h, calls: 1, same: [args.a], at_most: [args.a]}", "stands under same already: remove one of the two"),
    ("{for: 1h, calls: 1, same: [args.a, 5]}", 'write "5" in quotes'),
    ("{window: 1h, for: 1h, calls: 1, same: [args.a]}", "write for"),
    ("{count: 1, for: 1h, calls: 1, same: [args.a]}", "write calls"),
    ("{max: 1, for: 1h, calls: 1, same: [args.a]}", "write at_most"),
    ("{atmost: [args.n], for: 1h, calls: 1, same: [args.a]}", 'did you mean "at_most"?'),
    ("yes", "must be a mapping"),
])  # fmt: skip
def test_a_grant_that_is_none_is_answered_with_what_to_write(text: str, advice: str) -> None:
    found = of_grant(text)
    assert any(advice in problem for problem in found), found
    assert all(problem.startswith("p.yaml:5:") and ": tools.t.rules[1].grant" in problem for problem in found)


@pytest.mark.parametrize(("text", "advice"), [
    (f"{{action: deny, grant: {GRANT}}}", "grant belongs to a rule with action: require_approval"),
    (f"{{rate_limit: 5/day, grant: {GRANT}}}", "grant belongs to a rule with action: require_approval"),
    ("{action: require_approval, approval_timeout: 31d}", '"31d" is too long: write 30d at most'),
    ("{action: require_approval, timeout: 1h}", "write approval_timeout"),
    ("{action: require_approval, approver: 2}", "write approvers"),
    (f"{{action: require_approval, grants: {GRANT}}}", "write grant"),
])  # fmt: skip
def test_what_a_rule_says_of_approvals_and_is_wrong(text: str, advice: str) -> None:
    [problem] = of_rule(f"- {text}")
    assert problem.startswith("p.yaml:4:")
    assert advice in problem


@pytest.mark.parametrize(("text", "where", "advice"), [
    ("timeout: 31d", "timeout", "write 30d at most"), ("use_within: 721h", "use_within", "write 30d at most"),
    ("hold: 11m", "hold", "write 10m at most"), ("hold: 601", "hold", "write 10m at most"),
    ("hold: soon", "hold", "write as 90s"),
    ("answer: text", "answer", "must be error or result"), ("answer: ", "answer", "must be error or result"),
    ("four_eyes: 1", "four_eyes", "must be true or false"), ("mask: [key]", "mask[1]", "write args.key"),
    ("expires: 1h", "approvals", "write timeout"), ("wait: 1m", "approvals", "write hold"),
    ("redact: [args.a]", "approvals", "write mask"), ("webhook: {}", "approvals", "write notify"),
    ("notify: {slack: x}", "notify", "known are webhook"),
])  # fmt: skip
def test_what_a_file_says_of_approvals_and_is_wrong(text: str, where: str, advice: str) -> None:
    [problem] = problems(f"approvals: {{{text}}}")
    assert f": approvals.{where}: ".replace("approvals.approvals", "approvals") in problem
    assert advice in problem


@pytest.mark.parametrize(("webhook", "advice"), [
    ("{}", "needs url and secret_env: url is missing"),
    ("{url: 'https://x/y'}", "secret_env is missing"), ("{secret_env: S}", "url is missing"),
    ("{url: 'https://x/y', secret: hunter2}", "write secret_env"),
    ("{url: 'http://x.example/y', secret_env: S}", "must begin with https://"),
    ("{url: 'http://localhost.example/y', secret_env: S}", "must begin with https://"),
    ("{url: 'http://127.0.0.1.example/y', secret_env: S}", "must begin with https://"),
    ("{url: 'http://169.254.169.254/y', secret_env: S}", "must begin with https://"),
    ("{url: 'ftp://x/y', secret_env: S}", "must begin with https://"),
    ("{url: 'HTTPS://x/y', secret_env: S}", "must begin with https://"),
    ("{url: 'x.example/hook', secret_env: S}", "no URL that can be called"),
    ("{url: 'https:///y', secret_env: S}", "no URL that can be called"),
    ("{url: 'https://x:99999/', secret_env: S}", "is no URL: write"),
    ("{url: 'https://[x/', secret_env: S}", "is no URL"),
    ("{url: 'https://x/a b', secret_env: S}", "no URL that can be called"),
    ("{url: 'https://x/ä', secret_env: S}", "no URL that can be called"),
    ("{url: 'https://x/#top', secret_env: S}", "which no server gets: remove it"),
    ("{url: 'https://x/y', secret_env: 'my-secret'}", "the name of an environment variable"),
    ("{url: 'https://x/y', secret_env: 5}", "in quotes"), ("https://x/y", "must be a mapping"),
])  # fmt: skip
def test_a_webhook_that_nobody_should_call_is_answered_with_what_to_write(webhook: str, advice: str) -> None:
    found = problems(f"approvals: {{notify: {{webhook: {webhook}}}}}")
    assert any(advice in problem for problem in found), found
    assert all(": approvals.notify.webhook" in problem for problem in found)


def test_a_secret_in_the_place_of_its_name_or_in_the_url_is_not_shown() -> None:
    found = problems("approvals: {notify: {webhook: {url: 'https://user:hunter2@x/y', secret_env: 'k/9-tops3cret'}}}")
    assert len(found) == 2
    assert not any("hunter2" in problem or "tops3cret" in problem for problem in found)
