"""docs/PARITY.md: every member in every language. docs/parity.json says what is called differently or is missing on purpose, and why."""

from __future__ import annotations

import json

from members import LANGUAGES, ROOT, languages

ABOUT = json.loads((ROOT / "docs/parity.json").read_text())
HEAD = """# Every member in every language

Made from headers, sources and types by `./dev docs`; `./dev test style` compares. A member has one name: in C++ and Python as it stands
here, in C behind the prefix of its group, in Node in camelCase. Where a cell is no such name, or empty, [parity.json](parity.json) says
why, and a note below the table repeats it.
"""


def match_of(table: dict, group: str, name: str) -> str | None:
    """The key of the table that speaks of this member: GROUP.NAME, *.NAME or GROUP.*."""
    return next((key for key in (f"{group}.{name}", f"*.{name}", f"{group}.*") if key in table), None)


def reason(text: str) -> str:
    return ABOUT["reasons"].get(text, text)


def spellings(language: str, used: set) -> dict:
    """(group, name) → how it is spelled, and why not alike."""
    found = {}
    same_as = ABOUT["same_as"].get(language, {})
    for (group, member), spelling in LANGUAGES[language][2]({group: names[language] for group, names in ABOUT["groups"].items()}).items():
        key = match_of(same_as, group, member)
        used.add(("same_as", language, key))
        name, why = same_as[key] if key else (member, None)
        if "." in name:
            group, name = name.split(".")
        found[group, name] = (spelling, why and reason(why))
    return found


def in_no_group(language: str) -> list[str]:
    """What is public and neither in a group nor ignored for a reason, and what is ignored for none any more."""
    grouped = {name for names in ABOUT["groups"].values() for name in names[language]}
    prefixes = tuple(name for name in grouped if name.endswith("_"))
    missing = {name for name in LANGUAGES[language][3]() if name not in grouped and not (prefixes and name.startswith(prefixes))}
    ignored = ABOUT["ignored"].get(language, {}).keys()
    title = LANGUAGES[language][0]
    return [f"{title} {name} is in no group of docs/parity.json: add it to one, or say under \"ignored\" why not" for name in sorted(missing - ignored)] + [
        f"docs/parity.json, ignored {language}: {name} is of no use any more" for name in sorted(ignored - missing)
    ]


def table() -> tuple[str, list[str]]:
    """The page, and everything that is wrong."""
    there, used = languages(), set()
    problems = [problem for language in there for problem in in_no_group(language)]
    found = {language: spellings(language, used) for language in there}
    lines = [HEAD]
    for group in ABOUT["groups"]:
        notes: dict[str, list[str]] = {}
        rows = []
        for name in sorted({name for language in there for of, name in found[language] if of == group}):
            only = match_of(ABOUT["only"], group, name)
            cells = []
            for language in there:
                title = LANGUAGES[language][0]
                spelling, why = found[language].get((group, name), (None, None))
                absent = match_of(ABOUT["absent"].get(language, {}), group, name)
                if spelling is None:
                    if only and language not in ABOUT["only"][only][0]:
                        used.add(("only", "", only))
                        why, title = reason(ABOUT["only"][only][1]), "only " + " and ".join(LANGUAGES[one][0] for one in ABOUT["only"][only][0])
                    elif absent:
                        used.add(("absent", language, absent))
                        why, title = reason(ABOUT["absent"][language][absent]), f"not {title}"
                    else:
                        problems.append(f"{title} lacks {group}.{name}, which is {having(found, group, name)}: name it alike, or say why in docs/parity.json")
                if why and name not in notes.setdefault(f"{title}: {why}", []):
                    notes[f"{title}: {why}"].append(name)
                cells.append(f"`{spelling}`" if spelling else "–")
            rows.append(f"| {name} | " + " | ".join(cells) + " |")
        if rows:
            heads = " | ".join(LANGUAGES[language][0] for language in there)
            lines += [f"## {group}\n", f"| | {heads} |", "| --- " * (len(there) + 1) + "|", *rows, ""]
            lines += [f"- {', '.join(members)} – {note}" for note, members in notes.items()]
            lines += [""] if notes else []
    stale = [("only", "", key) for key, (of, _) in ABOUT["only"].items() if set(of) & set(there) and set(there) - set(of)]
    stale += [(kind, language, key) for kind in ("same_as", "absent") for language in there for key in ABOUT[kind].get(language, {})]
    problems += [f"docs/parity.json, {kind} {language}: {key} is of no use any more" for kind, language, key in stale if (kind, language, key) not in used]
    return "\n".join(lines).rstrip() + "\n", problems


def having(found: dict, group: str, name: str) -> str:
    return " and ".join(f"{found[language][group, name][0]} in {LANGUAGES[language][0]}" for language in found if (group, name) in found[language])
