"""What is called under each recipe of the cookbook: a tool, and its arguments as JSON text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.mcp.protocol import ClientInfo
from tests.support.desk import NOBODY


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one caller, by what must become of them.

    `refused` by a rule; `bad` before any rule; `asks` for a person. `not_held` are calls that the recipe does not stop,
    as its text says.
    """

    passes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    not_held: tuple[str, ...] = ()
    caller: Caller = NOBODY


def each(tool: str, argument: str, values: tuple[str, ...], rest: str = "") -> tuple[str, ...]:
    """Calls of one tool that differ in the JSON text of one argument; `rest` are the others."""
    return tuple(f'{tool} {{"{argument}": {value}{", " if rest else ""}{rest}}}' for value in values)


NO_TEXT: Final = ("null", "true", "5", "{}", "[]", '{"path": "/srv/project/a"}', '["/srv/project/a"]', '[["a"]]')
"""Values that are no text."""
NO_AMOUNT: Final = (
    "null", "true", '""', '"5"', '"5.00"', '"5e0"', '"0x5"', '" 5"', '"five"', "[]", "[5]", "{}", '{"value": 5}',
    "-1", "-0.01", "-1e-30", "1e-31", "12345678901234567890123456789012345", "5.0000000000000000000000000000000000001",
)  # fmt: skip
"""What no amount is: no numbers, and numbers that are negative or cannot be counted exactly."""

OUTSIDE: Final = (
    '"/etc/passwd"', '"/srv/project/../../etc/passwd"', '"/srv/project/../other"', '"/srv/project/./../x"',
    '"/srv/project/a/../../x"', '"/srv//project/..//x"', '"/srv/projects"', '"/srv/project-old/a"', '"/srv/proj"',
    '"/srv"', '"/"', '""', '"."', '".."', '"srv/project/a"', '"./srv/project/a"', '"~"', '"~/a"', '"$HOME/a"',
    '"/SRV/PROJECT/a"', '"/srv/Project/a"', '" /srv/project/a"', '"/srv/project/a "', '"/srv/project/.. "',
    '"/srv/project/..\\\\..\\\\etc"', '"\\\\srv\\\\project\\\\a"', '"C:\\\\srv\\\\project\\\\a"',
    '"file:///srv/project/a"', '"//srv@evil.test/project/a"', '"/srv/project/\\n../../etc"', '"/srv/project/\\u007f"',
    '"/srv/\\u200bproject/a"', '"/srv/pr\\u043eject/a"', '"\\uff0fsrv\\uff0fproject"',
    '"/proc/self/root/srv/project/a"', '"[\\"/srv/project/a\\"]"',
    '"{\\"path\\": \\"/srv/project/a\\"}"', *NO_TEXT,
)  # fmt: skip
"""Paths that do not lead below /srv/project."""

RECIPIENT: Final = '"a.b+c@example.com"'
STRANGERS: Final = (
    '"eve@evil.test"', '"eve@evil.test,bob@example.com"', '"bob@example.com,eve@evil.test"',
    '"bob@example.com;eve@evil.test"', '"bob@example.com eve@evil.test"', '"bob@example.com\\neve@evil.test"',
    '"bob@example.com\\r\\nBcc: eve@evil.test"', '"Bob <bob@example.com>"', '"\\"bob@example.com\\" <eve@evil.test>"',
    '"<eve@evil.test>bob@example.com"', '"eve@evil.test@example.com"', '"\\"eve@evil.test\\"@example.com"',
    '"eve%evil.test@example.com"', '"eve!x@example.com"', '"bob@EXAMPLE.COM"', '"bob@Example.com"',
    '"bob@example.com."', '"bob@example.com.evil.test"', '"bob@evil-example.com"', '"bob@evilexample.com"',
    '"bob@sub.example.com"', '"bob@example.co"', '"bob@examplexcom"', '"bob@ex\\u0430mple.com"',
    '"bob@\\uff45xample.com"', '"@example.com"', '"example.com"', '" bob@example.com"', '"bob@example.com "',
    '"bob @example.com"', '"mailto:bob@example.com"', '"bob@example.com?bcc=eve@evil.test"',
    '"bob@example.com(eve@evil.test)"', '""', '"[\\"bob@example.com\\"]"', '{"email": "bob@example.com"}',
    '["bob@example.com"]', "null", "5", "true",
)  # fmt: skip
"""Recipients that are no bare address at example.com."""

ELSEWHERE: Final = (
    '"http://docs.python.org/"', '"https://python.org/"', '"https://example.com/"',
    '"https://evil.test/docs.python.org"', '"https://docs.python.org.evil.test/"', '"https://evildocs.python.org/"',
    '"https://evil-example.com/"', '"https://docs.python.org@evil.test/"', '"https://docs.python.org:443@evil.test/"',
    '"https://evil.test#@docs.python.org/"', '"https://evil.test?@docs.python.org/"',
    '"https://evil.test\\\\@docs.python.org/"', '"https://docs.python.org\\\\@evil.test"',
    '"https:\\\\\\\\docs.python.org"', '"https:docs.python.org"', '"https:/docs.python.org"',
    '"https:///docs.python.org"', '"//docs.python.org/"', '"docs.python.org"', '"HTTPS://docs.python.org/"',
    '"ftp://docs.python.org/"', '"file:///etc/passwd"', '"javascript:alert(1)//https://docs.python.org"',
    '"view-source:https://docs.python.org"', '" https://docs.python.org/"', '"https://docs.python.org/ "',
    '"https://docs.python.org/a b"', '"https://docs.python.org\\t/"', '"https://docs.python.org/\\nHost: evil.test"',
    '"https://docs.python.org/\\r\\n\\r\\nGET /"', '"https://docs.python.org./"', '"https://docs.python.org:8443/"',
    '"https://docs.python.org:80/"', '"https://docs.python.org:/"', '"https://docs.python.org:0/"',
    '"https://docs.python.org:0443/"', '"https://docs.python.org:65979/"', '"https://docs%2epython.org/"',
    '"https://docs.python.org%00.evil.test/"', '"https://docs.python.org%2f@evil.test"',
    '"https://d\\u043ecs.python.org/"', '"https://docs\\u3002python.org/"', '"https://\\uff44ocs.python.org/"',
    '"https://127.0.0.1/"', '"https://2130706433/"', '"https://0x7f.1/"', '"https://127.1/"', '"https://0177.0.0.1/"',
    '"https://[::1]/"', '"https://[::ffff:127.0.0.1]/"', '"https://169.254.169.254/latest/meta-data"',
    '"https://localhost/"', '"https://wiki.example.org/"', '"https://wiki.example.org:443/"',
    '"https://a.wiki.example.org:8443/"', '"https://.example.com/"', '"https://*.example.com/"',
    '"https://a..example.com/"', '"https://u:p@a.example.com/"', '"https://"', '""',
    '"[\\"https://docs.python.org/\\"]"', '["https://docs.python.org/"]', '{"url": "https://docs.python.org/"}',
    "null", "5",
)  # fmt: skip
"""URLs that lead elsewhere, or may."""

LINES: Final = (
    '"ls; rm -rf /"', '"ls && id"', '"ls & id"', '"ls | sh"', '"ls || id"', '"ls\\nid"', '"ls\\rid"', '"ls a\\n"',
    '"\\nls"', '"ls\\u2028id"', '"ls\\u0085id"', '"ls $(id)"', '"ls `id`"', '"ls ${IFS}id"', '"ls $HOME"', '"ls ~"',
    '"ls *"', '"ls {a,b}"', '"ls > out"', '"ls < in"', '"ls 2>&1"', '"ls \\"a b\\""', '"ls \'a\'"', '"ls a\\\\ b"',
    '"ls #"', '"ls !!"', '"ls (id)"', '"ls %PATH%"', '"ls -la"', '"ls --color"', '"ls -- a"',
    '"git diff --output=out"', '"git diff --no-index a b"', '"git -c core.pager=id diff"', '"git log"', '"git push"',
    '"git statusx"', '"git  status"', '"npm test -- --x"', '"npm install"', '"npm testing"', '"lsof"', '"/bin/ls"',
    '"./ls"', '"LS"', '" ls"', '"ls "', '"ls  a"', '"ls\\ta"', '"ls\\u00a0a"', '"ls /etc"', '"ls .."',
    '"ls a/../../b"', '"ls a/.."', '"ls .git"', '"ls \\u0430"', '"A=1 ls"', '"env ls"', '"sudo ls"', '"rm -rf /"',
    '"id"', '""', '"[\\"ls\\"]"', '["ls"]', '{"command": "ls"}', "null", "5",
)  # fmt: skip
"""Lines that would run more than the few commands, or with options."""

STATEMENTS: Final = (
    '"DROP TABLE users"', '"select 1 drop table users"', '"select 1 exec xp_cmdshell"', '"select 1 shutdown"',
    '"select load_extension(1)"', '"select writefile(1, 2)"', '"select * from openrowset(1)"',
    '"select 1; drop table users"', '"select 1;;"', '"select 1;\\ndrop table users;"', '";select 1"',
    '"INSERT INTO a VALUES (1)"', '"update a set b = 1"', '"delete from a"', '"DeLeTe from a"',
    '"with x as (delete from a returning *) select 1"', '"select * into b from a"', '"select * from a for update"',
    '"select * from a INTO OUTFILE \'/tmp/x\'"', '"select 1 -- x"', '"select /* x */ 1"', '"select/**/1"',
    '"/*! drop table a */ select 1"', '"select /*!50000 1 */"', '"explain analyze delete from a"',
    '"select pg_sleep(10)"', '"select PG_SLEEP(10)"', '"select \\"pg_sleep\\"(10)"',
    '"select pg_read_file(\'/etc/passwd\')"', '"select U&\\"\\\\0070g_sleep\\"(1)"',
    '"select u&\\"!0070g_sleep\\" uescape \'!\'(1)"', '"select lo_import(\'/etc/passwd\')"',
    '"select dblink_exec(\'x\')"', '"select set_config(\'a\', \'b\', false)"', '"select nextval(\'s\')"',
    '"select load_file(\'/etc/passwd\')"', '"select query_to_xml(\'x\', true, true, \'\')"', '"select sleep(10)"',
    '"select benchmark(1, 1)"', '"copy a to program \'id\'"', '"do $$ begin end $$"', '"call p()"',
    '"grant all on a to b"', '"set role admin"', '"begin"', '"vacuum"', '"selec 1"', '"select"', '"selectx 1"',
    '"(select 1)"', '"\\u00a0select 1"', '"\\u017felect 1"', '"select 1 \\\\g out"', '"\\\\! id"', '""',
    '["select 1"]', '{"sql": "select 1"}', '"[\\"select 1\\"]"', "null", "5",
)  # fmt: skip
"""Statements that write, wait, or may."""

DECIMALS_TOO_MANY: Final = (
    '"100.01"', '"100.000000000000000000000000000001"', '"101"', '"1000"', "100.01", "1e3", '"1e2"', '"1E1"',
    '"1e-2"', '"+1"', '"-1"', '"-0.01"', '"01"', '"00"', '".5"', '"5."', '"1,5"', '"1.000,00"', '"1_0"', '"1 0"',
    '" 1"', '"1 "', '"1\\n"', '"0x1"', '"0b1"', '"1/2"', '"1.2.3"', '"NaN"', '"Infinity"', '"-Infinity"', '"one"',
    '""', '"EUR 5"', '"5 EUR"', '"$5"', '"5%"', '"\\u0661"', '"\\uff11"', '"1.00000000000000000000000000000000001"',
    '"[5]"', '"{\\"value\\": 5}"', "[]", '["5"]', "{}", "null", "true", "-1",
)  # fmt: skip
"""Texts that are no plain decimal, amounts above 100, and what is no amount at all."""

ORDER: Final = '"symbol": "SOL-USDT", "side": "buy", "type": "limit"'
PRICED: Final = '"quantity": "1", "price": "100"'
BATCH: Final = '{"symbol": "SOL-USDT", "side": "buy", "type": "limit", "quantity": 1, "price": 100}'


def order(text: str) -> str:
    """An order to buy with quantity and price as JSON text, or what they are beside."""
    return f"place_order {{{ORDER}, {text}}}"


def batch(*elements: str) -> str:
    """A batch of orders as JSON texts."""
    return f'place_orders {{"orders": [{", ".join(elements)}]}}'


def element(text: str) -> str:
    """An order in a batch, with some of its keys as JSON text and the others as they should be."""
    given = {part.split('"')[1] for part in text.split(", ") if '"' in part}
    kept = [part for part in BATCH.strip("{}").split(", ") if part.split('"')[1] not in given]
    return f"{{{', '.join([*kept, *([text] if text else [])])}}}"


PAID: Final = '"currency": "usd", "customer": "c", "description": "d"'
CLIENT: Final = ClientInfo("our-agent", "our-agent", "1")
ISSUER: Final = "https://issuer.example.com"


def signed_in(subject: str, *, issuer: str = ISSUER, client: ClientInfo | None = CLIENT, **claims: object) -> Caller:
    """A caller with a token."""
    return Caller(subject, "", Principal(subject, issuer, claims), client)


RESTART: Final = "restart_service {}"
DELETE: Final = "delete_service {}"

CALLS: Final[dict[str, tuple[Calls, ...]]] = {
    "Files below one folder": (
        Calls(
            passes=(
                *each("read_text_file", "path", (
                    '"/srv/project"', '"/srv/project/a.txt"', '"/srv/project/./a//b"', '"/srv/project/a/../b"',
                    '"/srv/project/..."', '"/srv/project/a b\\u00fc"', '"/srv/x/../project/a"',
                )),
                *each("read_file", "path", ('"/srv/project/a"',)), *each("read_media_file", "path",
                    ('"/srv/project/a"',)),
                *each("list_directory", "path", ('"/srv/project/"',)),
                'read_multiple_files {"paths": ["/srv/project/a", "/srv/project/b/../c"]}',
                'read_multiple_files {"paths": []}',
                'write_file {"path": "/srv/project/out/a", "content": "../../etc/passwd"}',
                'write_file {"path": "/srv/project/out/../notes/a", "content": ""}',
                'move_file {"source": "/srv/project/out/a", "destination": "/srv/project/out/b"}',
            ),
            refused=(
                *each("read_text_file", "path", OUTSIDE), *each("read_file", "path", OUTSIDE[:5]),
                *each("list_directory", "path", OUTSIDE),
                *each("write_file", "path", (*OUTSIDE, '"/srv/project/a"', '"/srv/project/out/../a"',
                    '"/srv/project/outside/a"')),
                *(f'read_multiple_files {{"paths": ["/srv/project/a", {path}]}}' for path in OUTSIDE),
                *(f'read_multiple_files {{"paths": {paths}}}' for paths in (
                    '"/srv/project/a"', '"[\\"/srv/project/a\\"]"', '{"0": "/srv/project/a"}', "null", "true", "5",
                    '["/srv/project/a", null]',
                )),
                'move_file {"source": "/srv/project/out/a", "destination": "/srv/project/a"}',
                'move_file {"source": "/etc/passwd", "destination": "/srv/project/out/a"}',
                'move_file {"source": "/srv/project/out/a"}', "read_text_file {}", "read_text_file null",
                "read_multiple_files {}", 'read_text_file {"file": "/srv/project/a"}',
                'read_text_file {"path ": "/srv/project/a"}', 'edit_file {"path": "/srv/project/out/a"}',
                'READ_TEXT_FILE {"path": "/srv/project/a"}', "directory_tree {}",
                'read_text_file {"path": "/srv/project/a\\u0000/../../etc"}',
            ),
            bad=(
                'read_text_file {"path": "/srv/project/a", "Path": "/etc/passwd"}',
                'read_text_file {"PATH": "/etc/passwd"}',
                'read_text_file {"path": "/srv/project/a", "path": "/etc/passwd"}',
                'read_text_file {"p\\u0061th": "/a", "path": "/a"}',
                'read_text_file {"path": "\\ud800"}',
                "read_text_file []", 'read_text_file "/srv/project/a"',
                'read_multiple_files {"paths": [], "Paths": ["/etc/passwd"]}',
            ),
            not_held=(
                'read_text_file {"path": "/srv/project/%2e%2e/%2e%2e/etc/passwd"}',
                'read_text_file {"path": "/srv/project/$HOME/a"}',
                'read_text_file {"path": "/srv/project/a-link/passwd"}',
            ),
        ),
    ),
    "Files that stay closed": (
        Calls(
            passes=each("read_text_file", "path", (
                '"/srv/project/a"', '"/srv/project/environment"', '"/srv/project/keys.md"',
                '"/srv/project/.github/a"', '"/srv/project/secrets.md"', '"/srv/project/.git/../a"',
            )),
            refused=(
                *each("read_text_file", "path", (
                    *OUTSIDE, '"/srv/project/.git"', '"/srv/project/.git/config"', '"/srv/project/./.git/config"',
                    '"/srv/project//.git//config"', '"/srv/project/a/../.git/config"', '"/srv/project/secrets/a"',
                    '"/srv/x/../project/secrets/a"', '"/srv/project/.env"', '"/srv/project/.env/."',
                    '"/srv/project/.env/"', '"/srv/project/.ENV"', '"/srv/project/a/.env.local"',
                    '"/srv/project/a/../.env"', '"/srv/project/server.pem"', '"/srv/project/server.PEM"',
                    '"/srv/project/a.key/."', '"/srv/project/id.p12"',
                )),
                "read_text_file {}",
            ),
            bad=('read_text_file {"path": "/srv/project/a", "pATH": "/srv/project/.env"}',
                'read_text_file {"path": "/srv/project/.env\\u0000.md"}'),
            not_held=each("read_text_file", "path", (
                '"/srv/project/server.pem.bak"', '"/srv/project/SECRET~1/a"', '"/srv/project/a.key::$DATA"',
                '"/srv/project/Secrets/a"',
            )),
        ),
    ),
    "Shell commands": (
        Calls(
            passes=(
                *each("run_command", "command", (
                    '"ls"', '"ls src"', '"ls src/a.b c_d"', '"git status"', '"git diff"', '"git diff src/a.py"',
                    '"git log --oneline"', '"npm test"',
                )),
                'run_program {"program": "wc", "args": ["a", "b/c.txt"]}', 'run_program {"program": "ls", "args": []}',
            ),
            refused=(
                *each("run_command", "command", LINES), "run_command {}", 'run_command {"cmd": "ls"}',
                *(f'run_command {{"command": "ls", {more}}}' for more in (
                    '"cwd": "/etc"', '"env": {"PATH": "/tmp"}', '"shell": "/tmp/x"', '"timeout": 5',
                    '"command ": "id"', '"comm\\u0430nd": "id"', '"": 1',
                )),
                *(f'run_program {{"program": {program}, "args": []}}' for program in (
                    '"sh"', '"/bin/ls"', '"ls "', '"LS"', '"ls -l"', '"ls;id"', '"ls\\n"', '["ls"]', '{"0": "ls"}',
                    "null", '""', "true",
                )),
                *(f'run_program {{"program": "ls", "args": {words}}}' for words in (
                    '["a", "-l"]', '["--help"]', '["a", "../b"]', '["a/../../b"]', '["a b"]', '["/etc"]',
                    '["a", "$(id)"]', '["a\\n"]',
                    '[""]', '["a", null]', '["a", 5]', '[["a"]]', '[{}]', '"a"', '"[\\"a\\"]"', '{"0": "a"}', "null",
                    "5",
                )),
                'run_program {"program": "ls"}', 'run_program {"args": []}',
                'run_program {"program": "ls", "args": [], "cwd": "/"}',
            ),
            bad=('run_command {"command": "ls", "Command": "id"}', 'run_command {"COMMAND": "ls"}',
                'run_command {"command": "ls\\u0000id"}'),
            not_held=('run_command {"command": "ls a-link"}',),
        ),
    ),
    "SQL that only reads": (
        Calls(
            passes=(
                *each("query", "sql", (
                    '"select 1"', '"SELECT * FROM users WHERE id = 5"', '"  Select a, b\\nfrom t;\\n"',
                    '"select update_time, dosage from t"',
                )),
                "list_tables {}",
            ),
            refused=(*each("query", "sql", STATEMENTS), "query {}", 'query {"sql": "select 1", "params": []}',
                'query {"query": "select 1"}'),
            bad=('query {"sql": "select 1", "SQL": "drop table a"}', 'query {"Sql": "select 1"}',
                'query {"sql": "select 1\\u0000"}'),
            not_held=('query {"sql": "select my_function_that_writes(1)"}',
                'query {"sql": "select count(*) from a, a b, a c, a d"}'),
        ),
    ),
    "URLs": (
        Calls(
            passes=each("fetch", "url", (
                '"https://docs.python.org"', '"https://docs.python.org/3/?q=a#b"', '"https://DOCS.python.ORG/"',
                '"https://docs.python.org:443/"', '"https://a.example.com/"', '"https://a.b.example.com/@x"',
                '"https://wiki.example.org:8443/a"',
            )),
            refused=(*each("fetch", "url", ELSEWHERE), "fetch {}", 'fetch {"uri": "https://docs.python.org/"}'),
            bad=('fetch {"url": "https://docs.python.org/", "URL": "https://evil.test/"}',
                'fetch {"url": "https://docs.python.org\\u0000.evil.test"}'),
            not_held=('fetch {"url": "https://docs.python.org/redirect?to=https://evil.test/"}',
                'fetch {"url": "https://inside.example.com/"}'),
        ),
    ),
    "E-mail recipients": (
        Calls(
            passes=(
                f'send_email {{"to": [{RECIPIENT}], "subject": "a: b", "body": "x"}}',
                f'send_email {{"to": [{RECIPIENT}, "b@example.com"], "cc": [], "bcc": [{RECIPIENT}], "subject": "a"}}',
                f'send_email {{"to": [], "cc": null, "bcc": [null, {RECIPIENT}], "subject": "\\u00e9"}}',
            ),
            refused=(
                *(f'send_email {{"to": ["bob@example.com", {stranger}], "subject": "a"}}' for stranger in STRANGERS),
                *(f'send_email {{"to": [{RECIPIENT}], "{key}": [{stranger}], "subject": "a"}}' for key in ("cc",
                    "bcc") for stranger in STRANGERS if stranger != "null"),
                *(f'send_email {{"to": {to}, "subject": "a"}}' for to in (RECIPIENT, '"[\\"bob@example.com\\"]"',
                    "null", "{}", '{"0": "a"}', "5", "true")),
                *(f'send_email {{"to": [], "{key}": {value}, "subject": "a"}}' for key in ("cc",
                    "bcc") for value in (RECIPIENT, "{}", "5", "false", '""')),
                *(f'send_email {{"to": [{RECIPIENT}], "subject": {subject}}}' for subject in (
                    '"a\\nBcc: eve@evil.test"', '"a\\r\\nBcc: eve@evil.test"', '"a\\rb"', '"\\t"', '["a"]', "null", "5",
                )),
                f'send_email {{"to": [{RECIPIENT}]}}', 'send_email {"subject": "a"}', "send_email {}",
                *(f'send_email {{"to": [{RECIPIENT}], "subject": "a", "{key}": "eve@evil.test"}}' for key in (
                    "replyTo", "reply_to", "headers", "attachments", "from", "t\\u043e", "to[]", "to ", "Bcc:",
                )),
            ),
            bad=(
                f'send_email {{"to": [{RECIPIENT}], "To": ["eve@evil.test"], "subject": "a"}}',
                'send_email {"to": [], "BCC": ["eve@evil.test"], "subject": "a"}',
                f'send_email {{"to": [{RECIPIENT}], "to": ["eve@evil.test"], "subject": "a"}}',
            ),
            not_held=('send_email {"to": ["list@example.com"], "subject": "a", "body": "for eve@evil.test"}',),
        ),
    ),
    "Money: in one call and in one day": (
        Calls(
            passes=tuple(f'create_payment {{"amount": {amount}, {PAID}}}' for amount in ("5000", "5e3",
                "0", "0.01", "4999.999", "5000.00")),
            refused=(
                *(f'create_payment {{"amount": {amount}, "currency": "usd"}}' for amount in (*NO_AMOUNT, "5001",
                    "5000.0000000000000000001", "1e4", "9e300")),
                *(f'create_payment {{"amount": 5, "currency": {currency}}}' for currency in (
                    '"eur"', '"USD"', '"usd "', '"u\\u0455d"', '["usd"]', '{"code": "usd"}', "null", '""', "true",
                )),
                'create_payment {"currency": "usd"}', 'create_payment {"amount": 5}', "create_payment {}",
                'create_payment {"amount": 5, "currency": "usd", "on_behalf_of": "x"}',
                'create_payment {"amount": 5, "currency": "usd", "quantity": 9}',
                'create_payment {"amount": 5, "currency": "usd", "am\\u043eunt": 9000}',
                'refund {"amount": 5, "currency": "usd"}',
            ),
            bad=(
                'create_payment {"amount": 5, "Amount": 9000, "currency": "usd"}',
                'create_payment {"AMOUNT": 5, "currency": "usd"}',
                'create_payment {"amount": 5, "amount": 9000, "currency": "usd"}',
                'create_payment {"amount": 1e400, "currency": "usd"}',
                'create_payment {"amount": NaN, "currency": "usd"}',
                'create_payment {"amount": Infinity, "currency": "usd"}',
                'create_payment {"amount": 05, "currency": "usd"}', 'create_payment {"amount": +5, "currency": "usd"}',
            ),
        ),
    ),
    "Money: never more within any hour": (
        Calls(
            passes=each("create_payment", "amount", ("5000", "0", "0.5")),
            refused=(*each("create_payment", "amount", (*NO_AMOUNT, "5000.01")), "create_payment {}"),
            bad=('create_payment {"amount": 5, "aMount": 9000}',),
        ),
    ),
    "Money: a budget for each caller": (
        Calls(
            passes=each("create_payment", "amount", ("5000", "0")), caller=signed_in("alice"),
            refused=(*each("create_payment", "amount", (*NO_AMOUNT, "5000.01")), "create_payment {}"),
        ),
        Calls(refused=each("create_payment", "amount", ("1",))),
    ),
    "Money: amounts as text": (
        Calls(
            passes=each("transfer", "amount", (
                '"100"', '"100.00"', '"0.01"', '"0"', '"99.99999999999999999999999999999999"', "12.5", "1e2",
            ), '"currency": "EUR", "beneficiary": "b"'),
            refused=(
                *each("transfer", "amount", DECIMALS_TOO_MANY, '"currency": "EUR"'), 'transfer {"currency": "EUR"}',
                *(f'transfer {{"amount": "5", "currency": {currency}}}' for currency in ('"JPY"', '"eur"', '["EUR"]',
                    "null")),
                'transfer {"amount": "5"}', 'transfer {"amount": "5", "currency": "EUR", "unit": "thousand"}',
            ),
            bad=(
                'transfer {"amount": "5", "Amount": "900", "currency": "EUR"}',
                'transfer {"amount": "5\\u0000", "currency": "EUR"}',
                'transfer {"amount": "5", "amount": "900", "currency": "EUR"}',
            ),
        ),
    ),
    "Money: price times size": (
        Calls(
            passes=tuple(map(order, (
                '"quantity": "2", "price": "500"', '"quantity": "0.00000001", "price": "100.5"',
                '"quantity": 2, "price": "500.00"', '"quantity": "0", "price": 100',
                '"quantity": "10", "price": "100"', '"quantity": "0.3", "price": "3333.33"',
            ))),
            refused=(
                *map(order, (
                    '"quantity": "2", "price": "500.01"', '"quantity": "2.0000000000000000001", "price": "500"',
                    '"quantity": 2, "price": 500.0000000000000000001', '"quantity": "1000001", "price": "0.001"',
                    '"quantity": "1", "price": "99.99"', '"quantity": "1"', '"price": "100"',
                    '"quantity": "1", "price": null', '"quantity": null, "price": "100"',
                    '"quantity": "-1", "price": "-500"', '"quantity": "-1", "price": "500"',
                    '"quantity": "1e3", "price": "100"', '"quantity": "1", "price": "1e2"',
                    '"quantity": "1", "price": "market"', '"quantity": "1", "price": ""',
                    '"quantity": ["1"], "price": "100"', '"quantity": "1", "price": {"value": "100"}',
                    '"quantity": true, "price": "100"', '"quantity": "1", "price": " 100"',
                    '"quantity": "1", "price": "0100"', '"quantity": "1", "price": "-100"',
                    '"quantity": "1.2345678901234567890", "price": "123.4567890123456789"',
                    '"quantity": "1", "price": "100", "notional": "9"',
                    '"quantity": "1", "price": "100", "stop": "1"', '"quantity": "1", "price": "100", "leverage": 5',
                )),
                *(f"place_order {{{ORDER.replace(good, bad)}, {PRICED}}}" for good, bad in (
                    ('"limit"', '"market"'), ('"limit"', '"Limit"'), ('"limit"', '["limit"]'), ('"limit"', "null"),
                    ('"SOL-USDT"', '"SOL-USDT-SWAP"'), ('"SOL-USDT"', '["SOL-USDT"]'), ('"SOL-USDT"', '"sol-usdt"'),
                    ('"buy"', '"BUY"'), ('"buy"', '"short"'), ('"symbol"', '"instrument"'), ('"type"', '"kind"'),
                )),
                f'place_order {{{ORDER.replace("limit", "market")}, "quantity": "1"}}', "place_order {}",
            ),
            bad=tuple(map(order, (
                '"quantity": "1", "price": "100", "Price": "900"',
                '"quantity": "1", "QUANTITY": "900", "price": "100"',
                '"quantity": "1", "price": "100", "Type": "market"', '"quantity": "1", "price": 1e400',
            ))),
            not_held=(f"place_order {{{ORDER.replace('buy', 'sell')}, {PRICED}}}",),
        ),
    ),
    "Batches": (
        Calls(
            passes=(
                batch(BATCH, BATCH, BATCH), batch(), batch(element('"quantity": 2, "price": 500')),
                batch(element('"note": "x"')),
                batch(element('"symbol": "BTC-USDT", "quantity": 0.01, "price": 100000')),
                'cancel_orders {"ids": ["agent-1", "agent-22"]}', 'cancel_orders {"ids": []}',
            ),
            refused=(
                batch(BATCH, element('"quantity": 9.01')), batch(*[BATCH] * 11), batch(BATCH,
                    element('"quantity": 9.0000000000000000001')),
                *(batch(BATCH, element(bad)) for bad in (
                    '"symbol": "ETH-USDT"', '"symbol": null', '"symbol": ["SOL-USDT"]', '"side": "sell"',
                    '"side": "Buy"', '"type": "market"', '"type": ["limit"]', '"stop": 5', '"stop": false',
                    '"price": null', '"price": "100"', '"price": -100', '"quantity": "1"', '"quantity": null',
                    '"quantity": [1]', '"quantity": true', '"quantity": -1', '"quantity": -1, "price": -100',
                )),
                *(batch(BATCH, bad) for bad in (
                    "{}", "null", "5", "true", '""', "[]", f"[{BATCH}]", '"SOL-USDT"',
                    '"{\\"symbol\\": \\"SOL-USDT\\"}"',
                    '{"symbol": "SOL-USDT", "side": "buy", "type": "limit", "quantity": 1}',
                    '{"symbol": "SOL-USDT", "side": "buy", "type": "limit", "price": 100}',
                )),
                *(f'place_orders {{"orders": {orders}}}' for orders in (
                    BATCH, '"[]"', f'{{"0": {BATCH}}}', "null", "5", "{}",
                    '"[{\\"symbol\\": \\"SOL-USDT\\", \\"quantity\\": 1}]"', f"[[{BATCH}]]",
                )),
                "place_orders {}", f'place_orders {{"orders": [{BATCH}], "mode": "market"}}',
                f'place_orders {{"orders": [], "orders ": [{BATCH}]}}',
                *(f'cancel_orders {{"ids": {ids}}}' for ids in (
                    '["agent-1", "human-1"]', '["agent-1", "agent-1x"]', '["agent-1,human-1"]', '["agent-1\\n"]',
                    '["AGENT-1"]', '["agent-"]', '["agent-1234567890123"]', '[null]', '["agent-1", 5]', '["*"]',
                    '[["agent-1"]]', '"agent-1"', '"[\\"agent-1\\"]"', "null", '{"0": "agent-1"}', '["agent-\\u0661"]',
                )),
            ),
            bad=(
                batch(BATCH, element('"Price": 100')), batch(BATCH, element('"Stop": 100')), batch(BATCH,
                    element('"QUANTITY": 900')), 'place_orders {"Orders": []}',
                'place_orders {"orders": [], "ORDERS": []}', batch(BATCH, element('"price": 1e999')),
            ),
            not_held=(batch(element('"expires": "never"')),),
        ),
    ),
    "Ask a person when": (
        Calls(
            passes=('send_payment {"amount": 100, "payee": "acme"}',
                'send_payment {"amount": 0, "payee": "initech", "note": "x"}'),
            asks=(
                *(f'send_payment {{"amount": {amount}, "payee": "acme"}}' for amount in ("100.01",
                    "100.00000000000000000001", "1e9", "101")),
                *(f'send_payment {{"amount": 5, "payee": {payee}}}' for payee in (
                    '"evil"', '"ACME"', '"acme "', '"\\u0430cme"', '["acme"]', '{"name": "acme"}', '""', "true", "5",
                    '"[\\"acme\\"]"',
                )),
                'send_payment {"amount": 5000, "payee": "evil"}',
            ),
            refused=(
                *(f'send_payment {{"amount": {amount}, "payee": "acme"}}' for amount in ('"5000"', '"5"', "[5000]",
                    '{"value": 5000}', "null", "true", "-1")),
                'send_payment {"payee": "acme"}', 'send_payment {"total": 5000, "payee": "acme"}',
                'send_payment {"amount": 5}', "send_payment {}", 'send_payment {"amount": 5, "payee": null}',
                'send_payment {"amount": 5000, "payee": null}',
            ),
            bad=('send_payment {"amount": 5, "Amount": 5000, "payee": "acme"}',
                'send_payment {"amount": 5, "payee": "acme", "PAYEE": "evil"}'),
        ),
    ),
    "Only known arguments": (
        Calls(
            passes=('create_issue {"repo": "acme/docs", "title": "a", "body": "b"}',
                'create_issue {"repo": "acme/website"}', 'create_issue {"repo": "acme/docs", "body": {"x": 1}}'),
            refused=(
                *(f'create_issue {{"repo": "acme/docs", {more}}}' for more in (
                    '"assignee": "x"', '"repo ": "evil/x"', '"r\\u0435po": "evil/x"', '"_repo": 1',
                    '"": 1, "title": "a"', '"repo.owner": "evil"', '"__proto__": {}', '"args": {"repo": "x"}',
                    '"repository": "evil/x"', '"\\u200brepo": "evil/x"', '"assignee": null',
                )),
                *(f'create_issue {{"repo": {repo}}}' for repo in ('"evil/x"', '"Acme/docs"', '"acme/docs "',
                    '"acme/docs/../x"', '["acme/docs"]', "null", '{"name": "acme/docs"}')),
                "create_issue {}", "create_issue null", 'create_issue {"title": "a"}',
            ),
            bad=(
                'create_issue {"repo": "acme/docs", "Repo": "evil/x"}', 'create_issue {"REPO": "acme/docs"}',
                'create_issue {"repo": "acme/docs", "Title": "a"}',
                'create_issue {"repo": "acme/docs", "repo": "evil/x"}', "create_issue []",
            ),
        ),
    ),
    "Who asks": (
        Calls(passes=(RESTART, "get_service {}", 'restart_service {"groups": []}'), refused=(DELETE,),
            caller=signed_in("carol", groups=["x", "operators"])),
        Calls(passes=(DELETE,), refused=(RESTART,), caller=signed_in("alice", groups=["admins"])),
        Calls(
            passes=(DELETE, "get_service {}"),
            caller=signed_in("bob", client=ClientInfo("our-console", "our-console", "1")),
        ),
        Calls(refused=(RESTART, DELETE), caller=signed_in("alice", issuer="https://other.example.com", groups=[])),
        Calls(refused=(RESTART, DELETE), caller=signed_in("Alice", groups=["Operators", "operator", "no-operators"])),
        Calls(refused=(RESTART, DELETE), caller=signed_in("carol", groups="no-operators")),
        Calls(refused=(RESTART, DELETE), caller=signed_in("carol", groups="operators")),
        Calls(refused=(RESTART, DELETE), caller=signed_in("carol", groups={"operators": True})),
        Calls(refused=(RESTART, DELETE), caller=signed_in("carol", groups=[["operators"], None])),
        Calls(refused=(RESTART, DELETE), caller=signed_in("carol", Groups=["operators"], group="operators")),
        Calls(refused=('restart_service {"principal": {"claims": {"groups": ["operators"]}}}', DELETE),
            caller=Caller("session", "", None, CLIENT)),
        Calls(refused=(RESTART, DELETE, "get_service {}"), caller=signed_in("alice", client=None,
            groups=["operators"])),
        Calls(
            refused=(RESTART, DELETE, "get_service {}"),
            caller=signed_in("alice", client=ClientInfo("Our-Agent", "Our-Agent", "1"), groups=["operators"]),
        ),
    ),
    "Deny lists": (
        Calls(
            passes=(
                *each("push", "branch", ('"feature/a"', '"mainly"', '"domain"', '"HEAD:feature/a"')),
                'push {"branch": "a", "force": false}', 'push {"branch": "a", "force": "false"}', "create_branch {}",
            ),
            refused=(
                *each("push", "branch", (
                    '"main"', '"MAIN"', '"Main"', '"main "', '"main\\n"', '"refs/heads/main"', '"HEAD:main"',
                    '"+main"', '":main"', '"a:refs/heads/main"', '"release"', '"release-1.2"', '"origin/release"',
                    '"fix/release-notes"', '["main"]', '["feature/a"]', '{"name": "main"}', "5", "true", "null", '[]',
                )),
                *(f'push {{"branch": "a", "force": {force}}}' for force in ("true", '"true"', "1", "0", '"yes"',
                    '"FALSE"', "[]", "{}", "null", '""')),
                "push {}", 'push {"force": false}', 'delete_branch {"name": "a"}', "delete_ {}", "pull {}",
            ),
            bad=('push {"branch": "a", "Branch": "main"}', 'push {"branch": "a", "FORCE": true}',
                'push {"branch": "main\\u0000"}'),
            not_held=('push {"branch": "refs/heads/m*:refs/heads/m*"}', 'push {"branch": "a", "options": "--force"}'),
        ),
    ),
    "Classes": (
        Calls(
            passes=("get_ticker {}", 'get_ticker {"a": 1}', "update_alias {}", "update_note {}",
                'create_invoice {"amount": 1000}'),
            refused=(
                "send_payment {}", 'send_payment {"amount": 1}', "delete_file {}", "delete_ {}",
                'create_invoice {"amount": 1000.01}', "create_invoice {}", 'create_invoice {"amount": "5"}',
                "Send_Payment {}", "SEND_PAYMENT {}", "Get_ticker {}", "ticker {}", "un_get_ticker {}",
                "send_payments {}",
            ),
            bad=("send_payment\\u200b {}", "send_payment\\t {}", "\\uff53end_payment {}",
                'create_invoice {"Amount": 1}'),
            not_held=("get_and_delete {}",),
        ),
    ),
}  # fmt: skip
