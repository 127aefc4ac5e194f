"""Why a text is not YAML, in words that help: from what libyaml says and what stands there to what to write instead.

Knows how people write YAML, and nothing of policies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import yaml
from yaml.reader import ReaderError


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and what to write instead; `line` and `column` count from 1."""

    line: int
    column: int
    text: str


def fault(text: str, error: yaml.YAMLError) -> Fault:
    """The fault for which libyaml gave up reading `text`."""
    if isinstance(error, ReaderError):
        return _control(text, error)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return Fault(1, 1, f"not YAML: {str(error).splitlines()[0]}")
    context = getattr(error, "context_mark", None) or mark
    said = str(getattr(error, "problem", None) or getattr(error, "context", None))
    spot = _Spot(_LINES.split(text), mark.line, mark.column, context.line, context.column)
    explain = _FAULTS.get((said, getattr(error, "context", None))) or _FAULTS.get((said, None))
    return explain(spot) if explain else spot.here(f"{said}, so this is not YAML: put what is no plain word in quotes")


_LINES: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where libyaml gave up, and where what it was reading began; all count from 0."""

    lines: list[str]
    line: int
    column: int
    began: int
    began_column: int

    @property
    def before(self) -> str:
        """What stands before the place in its line."""
        return self._line(self.line)[: self.column]

    @property
    def after(self) -> str:
        """What stands at the place, and after it."""
        return self._line(self.line)[self.column :]

    @property
    def whole(self) -> str:
        """From where it began, to the end of that line."""
        return self._line(self.began)[self.began_column :]

    @property
    def indented(self) -> bool:
        """True where only blanks stand before the place."""
        return not self.before.strip()

    @property
    def at_end(self) -> bool:
        return self.line >= len(self.lines) - 1 and not self.after

    def above(self) -> tuple[int, str]:
        """The last line above that says something, with its number from 1; the line itself where there is none."""
        for at in range(self.line - 1, -1, -1):
            if (line := self._line(at)).strip() and not line.lstrip().startswith("#"):
                return at + 1, line
        return self.line + 1, self._line(self.line)

    def indent(self, line: int) -> int:
        found = self._line(line)
        return len(found) - len(found.lstrip())

    def here(self, text: str) -> Fault:
        return Fault(self.line + 1, self.column + 1, text)

    def there(self, text: str) -> Fault:
        """A fault of what began, at its beginning."""
        return Fault(self.began + 1, self.began_column + 1, text)

    def _line(self, at: int) -> str:
        return self.lines[at] if at < len(self.lines) else ""


def _control(text: str, error: ReaderError) -> Fault:
    code = error.character if isinstance(error.character, int) else ord(error.character)
    before = text.partition(chr(code))[0]
    line = _LINES.split(before)[-1]
    advice = "remove it, or write it as an escape in double quotes"
    return Fault(len(_LINES.split(before)), len(line) + 1, f"YAML holds no character U+{code:04X}: {advice}")


def _quoted(text: str) -> str:
    """The text as a scalar in quotes."""
    return f'"{text}"' if not re.search(r'["\\]', text) else "'" + text.replace("'", "''") + "'"


def _word(text: str) -> str:
    """What stands at the beginning of `text` and was meant as one scalar: up to a comma, a bracket or a colon."""
    found = re.match(r"[^,\]}\s]*?(?=:?(?:[,\]}\s]|$))", text)
    return found[0] if found and found[0] else text[:1]


def _no_start(spot: _Spot) -> Fault:
    sign = spot.after[:1]
    if sign == "\t":
        return _tab(spot)
    word = _word(spot.after)
    return spot.here(f"a text cannot begin with {sign}: put it in quotes, as {_quoted(word)}")


def _tab(spot: _Spot) -> Fault:
    return spot.here("a tab stands where only blanks indent: write two blanks for each level")


def _star(spot: _Spot) -> Fault:
    """An alias whose name cannot be one, or is none."""
    line = spot.lines[spot.began]
    path = re.search(r"[^\s,{\[]+\[$", line[: spot.began_column])
    if path:
        word = path[0] + _after_bracket(line[spot.began_column :])
        return Fault(spot.began + 1, path.start() + 1, f"a text with brackets needs quotes here: write {_quoted(word)}")
    word = _word(spot.whole)
    text = f"* begins an alias, and there is none of this name: put the text in quotes, as {_quoted(word)}"
    return spot.there(text)


def _after_bracket(text: str) -> str:
    """The rest of a word that holds brackets, from inside one of them."""
    found = re.match(r"[^\]]*\](?:\[[^\]]*\]|[^,\[\]}\s])*", text)
    return found[0] if found else _word(text)


def _anchor(spot: _Spot) -> Fault:
    return spot.there("& begins an anchor, which needs a name: put the text in quotes, if that is not what is meant")


def _same_anchor(spot: _Spot) -> Fault:
    name = re.match(r"&[\w-]+", spot.after)
    shown = name[0] if name else "this name"
    return spot.here(f"the anchor {shown} stands in line {spot.began + 1} already: give each a name of its own")


def _escape(spot: _Spot) -> Fault:
    """A backslash in double quotes that is no escape."""
    inside = re.match(r'"((?:[^"\\]|\\.)*)"', spot.whole)
    text = "a backslash in double quotes begins an escape, and this is none: write the text in single quotes"
    return spot.here(f"{text}, as {_single(inside[1])}" if inside else text)


def _single(inside: str) -> str:
    """What stood between double quotes, in single ones."""
    return "'" + inside.replace(r"\"", '"').replace("'", "''") + "'"


def _colon(spot: _Spot) -> Fault:
    """A colon where no key can be: in a text, or after a line that is no mapping's."""
    pair = _PAIR.match(spot.lines[spot.line])
    if pair and pair.start("text") < spot.column:
        write = f"{pair['key'].strip()} {_quoted(pair['text'].strip())}"
        text = f"a text with a colon and a blank needs quotes: write {write}"
        return Fault(spot.line + 1, pair.start("text") + 1, text)
    if spot.before.rstrip()[-1:] in ("'", '"'):
        return spot.here("a colon behind a text in quotes makes it a key: put the whole value in quotes")
    number, above = spot.above()
    name = above.strip()
    if _NO_KEY.fullmatch(name):
        return Fault(number, len(above) - len(name) + 1, f"a colon is missing: write {name}:")
    if glued := _GLUED.match(above):
        write = f"{glued['key']}: {above[glued.end() :].strip()}"
        return Fault(number, glued.end() + 1, f"a blank is missing after the colon: write {write}")
    text = f"this line goes on with line {number}, which has a value already"
    advice = f"begin it in column {_start(above) + 1}, or put the value in quotes"
    return Fault(spot.line + 1, spot.indent(spot.line) + 1, f"{text}: {advice}")


_PAIR: Final = re.compile(
    r"""(?P<key>\s*(?:-\ +)*(?:"[^"]*"|'[^']*'|[^\s:#'"{}\[\]][^:{}\[\]]*?):)\s+(?P<text>[^\s"'].*)""", re.VERBOSE
)
_NO_KEY: Final = re.compile(r"(?:- +)?[^\s:'\"{}\[\]]+")
_GLUED: Final = re.compile(r"\s*(?:- +)?(?P<key>[\w.*-]+):(?=\S)")


def _start(line: str) -> int:
    """The column where the keys of a line begin, from 0: after the dashes of list items."""
    found = re.match(r"\s*(?:- +)*", line)
    return found.end() if found else 0


def _no_colon(spot: _Spot) -> Fault:
    return spot.there(f"a colon is missing: write {spot.whole.strip()}: and its value")


def _dash_on_the_line(spot: _Spot) -> Fault:
    return spot.here("a list cannot begin behind a key in the same line: begin the next line with the dash")


def _no_key(spot: _Spot) -> Fault:
    """Among the keys of a block stands something that is none."""
    if not spot.indented:
        return _behind_the_end(spot)
    if spot.after.startswith("- ") or spot.after == "-":
        number, _ = spot.above()
        return spot.here(f"a list item stands among keys: write a dash before line {number} too, or remove this one")
    number, above = spot.above()
    text = f"this line begins in column {spot.column + 1}, where nothing above does"
    go_on = f"begin it in column {_start(above) + 1} to go on with line {number}"
    return spot.here(f"{text}: {go_on}, or in the column of another line above")


def _no_dash(spot: _Spot) -> Fault:
    """Among the items of a list stands something that is none."""
    if not spot.indented:
        return _behind_the_end(spot)
    column = spot.began_column + 1
    text = f"the list of line {spot.began + 1} goes on here: write a dash in column {column} for its next item"
    return spot.here(f"{text}, or begin in column {column + 2} to go on with the item before")


def _behind_the_end(spot: _Spot) -> Fault:
    """Something follows a text in quotes, a list or a mapping that has ended."""
    last = spot.before.rstrip()[-1:]
    match last:
        case "'":
            return spot.here("the text ended at the quote before this: write '' for a quote in single quotes")
        case '"':
            return spot.here("the text ended at the quote before this: put the whole value in single quotes")
        case "]" | "}":
            text = f"the value ended at the {last} before this: put a text that begins with a bracket in single quotes"
            return spot.here(f"{text}, or remove what follows")
        case _:
            return spot.here("the value has ended before this: put the whole value in quotes")


def _unclosed_quote(spot: _Spot) -> Fault:
    quote = spot.whole[:1]
    return spot.there(f"the quote that begins here is never closed: write {quote} at the end of the text")


def _in_list(spot: _Spot) -> Fault:
    return _in_brackets(spot, "]")


def _in_mapping(spot: _Spot) -> Fault:
    return _in_brackets(spot, "}")


def _in_brackets(spot: _Spot, closing: str) -> Fault:
    """Between brackets stands what is neither a comma nor the end."""
    opening = spot.whole[:1]
    left = spot.line > spot.began and spot.indent(spot.line) <= spot.indent(spot.began)
    sign = spot.after[:1]
    if left or spot.at_end:
        return spot.there(f"the {opening} that begins here is never closed: write {closing} where it ends")
    if sign in ("]", "}"):
        return spot.here(f"the {opening} of line {spot.began + 1} is closed by {sign}: write {closing}")
    if sign in ("[", "{"):
        begin = re.search(r"[^\s,{\[]*$", spot.before)
        word = (begin[0] if begin else "") + sign + _after_bracket(spot.after[1:])
        return spot.here(f"a text with brackets needs quotes here: write {_quoted(word)}")
    if sign == ":":
        words = re.split(r"[,{}\[\]]|:\s", spot.before)[-1].split()
        quotes = "put a text with a colon and a blank in quotes"
        return spot.here(f"write a comma before {words[-1]}, or {quotes}" if len(words) > 1 else quotes)
    return spot.here(f"a comma is missing before this, or the {closing} that ends what line {spot.began + 1} began")


def _no_value(spot: _Spot) -> Fault:
    sign = spot.after[:1]
    if sign == ",":
        return spot.here("a value is missing before this comma: write it, or remove the comma")
    return spot.here(f"a value cannot begin with {sign}: put it in quotes, or remove it")


def _block_scalar(spot: _Spot) -> Fault:
    value = spot.whole.strip()
    text = f"{value[:1]} begins a text of several lines: put the value in quotes"
    return spot.there(f"{text}, as {_quoted(value)}")


def _directive(spot: _Spot) -> Fault:
    return spot.there("% at the beginning of a line is for YAML itself: put the text in quotes, or remove the line")


def _another_document(spot: _Spot) -> Fault:
    return spot.here("the document has ended before this: write one policy to a file, and nothing after the three dots")


_NO_NAME: Final = "did not find expected alphabetic or numeric character"
_Explain: TypeAlias = Callable[[_Spot], Fault]
_FAULTS: Final[Mapping[tuple[str, str | None], _Explain]] = {
    ("found character that cannot start any token", None): _no_start,
    ("found a tab character that violates indentation", None): _tab,
    (_NO_NAME, "while scanning an alias"): _star,
    ("found undefined alias", None): _star,
    (_NO_NAME, "while scanning an anchor"): _anchor,
    ("second occurrence", None): _same_anchor,
    ("found unknown escape character", None): _escape,
    ("did not find expected hexdecimal number", None): _escape,
    ("found invalid Unicode character escape code", None): _escape,
    ("mapping values are not allowed in this context", None): _colon,
    ("could not find expected ':'", None): _no_colon,
    ("block sequence entries are not allowed in this context", None): _dash_on_the_line,
    ("did not find expected key", None): _no_key,
    ("did not find expected '-' indicator", None): _no_dash,
    ("found unexpected end of stream", "while scanning a quoted scalar"): _unclosed_quote,
    ("did not find expected ',' or ']'", None): _in_list,
    ("did not find expected ',' or '}'", None): _in_mapping,
    ("did not find expected node content", None): _no_value,
    ("did not find expected comment or line break", "while scanning a block scalar"): _block_scalar,
    ("found unexpected non-alphabetical character", None): _directive,
    ("could not find expected directive name", None): _directive,
    ("found incompatible YAML document", None): _directive,
    ("did not find expected <document start>", None): _another_document,
}
"""What explains the words of libyaml, by what it met and, where that alone does not tell, what it was reading."""
