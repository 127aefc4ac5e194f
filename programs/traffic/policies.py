"""The policies of the scripted traffic: a shop, a candidate for it, and a desk that takes its policy as a bundle."""

from __future__ import annotations

from typing import Final

SECRET: Final = "export_customers"
"""A tool that the shop hides."""

_SHOP: Final = f"""\
version: "1"
description: A shop
default: deny
hide: [{SECRET}]
list: callable
methods: {{deny: [resources/read]}}
approvals:
  timeout: 30m
  notify: {{webhook: {{url: "WEBHOOK", secret_env: WEBHOOK_SECRET}}}}
tools:
  read_page:
    class: Read
    rules: []
  search:
    class: Read
    rules:
      - {{action: allow}}
      - name: short searches
        mode: shadow
        conditions: [{{path: args.words, op: lte, value: 3}}]
  edit_page:
    class: Write
    rules:
      - name: drafts only
        mode: monitor
        conditions: [{{path: args.draft, op: eq, value: true}}]
  delete_page:
    class: Destructive
    rules:
      - {{name: nobody deletes, action: deny, reason: Pages are kept for seven years}}
  discount:
    class: Financial
    rules:
      - name: small discounts
        reason: At most five percent
        conditions: [{{path: args.percent, op: lte, value: 5}}]
  send_mail:
    class: Execute
    rules:
      - name: few mails
        rate_limit: {{max: 8, window: 60s, scope: global}}
  send_text:
    class: Execute
    rules:
      - name: few texts of a session
        rate_limit: {{max: 3, window: 60s, scope: session}}
  pay:
    class: Financial
    rules:
      - name: value of a day
        spend_limit: {{path: args.amount, per_call: 500, max: 1000, window: day}}
  reserve:
    class: Write
    rules:
      - name: units of an hour
        state: {{counter: units, window: hour, increment_from: args.units}}
        conditions: [{{path: state.reserve.units, op: lte, value: 100}}]
  move_stock:
    class: Write
    rules:
      - name: few units
        conditions: [{{path: args.units, op: lte, value: 10}}]
  refund:
    class: Financial
    rules:
      - {{name: a person agrees, action: require_approval, reason: A refund needs a person}}
  gift:
    class: Financial
    rules:
      - {{name: a person agrees soon, action: require_approval, approval_timeout: 5s, reason: A gift needs a person}}
  lookup:
    class: Read
    rules: []
  never_called:
    rules:
      - {{name: a dead rule, action: deny, reason: Nobody has ever called this}}
  "*":
    rules:
      - name: all calls
        rate_limit: {{max: 5000, window: hour, scope: global}}
"""


def shop(webhook: str) -> str:
    """The shop's policy, where a webhook is told of calls that wait."""
    return _SHOP.replace("WEBHOOK", webhook, 1)


def stricter(policy: str) -> str:
    """The same with one smaller number: what is put in force while calls come."""
    return policy.replace("value: 5}", "value: 4}").replace("five percent", "four percent")


def wrong(policy: str) -> str:
    """No policy at all: what a hurried person saves."""
    return policy.replace("op: lte", "op: below")


def candidate(policy: str) -> str:
    """What somebody would like to have, so that each decision becomes each other one for some call."""
    for now, wanted in (
        ("  search:\n", "  search_more:\n"),  # allowed, and denied by default then
        ("action: deny, reason: Pages are", "conditions: [{path: args.draft, op: eq, value: true}], reason: Pages are"),
        ("      - name: drafts only\n", "      - {action: require_approval, reason: Ask}\n      - name: drafts only\n"),
        ("reason: At most five percent\n", "action: require_approval\n"),
        ("action: require_approval, reason: A refund needs a person", "action: allow"),
        ("action: require_approval, approval_timeout: 5s, reason: A gift", "action: deny, reason: A gift"),
    ):
        policy = policy.replace(now, wanted, 1)
    return policy


DESK: Final = """\
version: "1"
description: A desk
default: allow
tools:
  place_order:
    class: Financial
    rules:
      - name: small orders
        reason: Orders of more than ten need a broker
        conditions: [{path: args.amount, op: lte, value: 10}]
      - name: orders of a minute
        rate_limit: {max: 20, window: minute, sliding: true}
  cancel_order:
    class: Destructive
    rules:
      - {name: nobody cancels, action: deny, reason: Call the broker}
"""

DESK_LATER: Final = DESK.replace("more than ten", "more than nine").replace("value: 10}", "value: 9}")
