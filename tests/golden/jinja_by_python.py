"""Renders the cases of make_jinja_cases.mjs with Jinja itself, set up as transformers does.

    python3 tests/golden/jinja_by_python.py CASES.json [OUT.json]

Fails where the other program rendered something else; writes all cases, those that were left out too, to OUT.json.
Needs python3-jinja2.
"""

import json
import sys

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return jinja2.nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True))


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
)
environment.filters["tojson"] = to_json
environment.globals["raise_exception"] = raise_exception

cases = json.load(open(sys.argv[1], encoding="utf-8"))
template = variables = None
different = 0
for case in cases:
    template, variables = case.get("template", template), case.get("variables", variables)
    try:
        rendered = {"output": environment.from_string(template).render(**variables)}
    except (jinja2.exceptions.TemplateError, TypeError):
        rendered = {"fails": True}
    before = {key: case.pop(key) for key in ("output", "fails", "left_out") if key in case}
    case.pop("ids", None), case.pop("answers", None)
    case.update(rendered)
    if before != rendered and "left_out" not in before:
        different += 1
        print(f"{case['name']}: {template[:100]!r}\n  here {rendered}\n  there {before}")
if len(sys.argv) > 2:
    json.dump(cases, open(sys.argv[2], "w", encoding="utf-8"))
print(f"{len(cases)} cases, {different} different")
sys.exit(1 if different else 0)
