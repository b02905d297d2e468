"""The web ranker as people use it: `trivium rank --web` in headless Chromium.

usage: test_rank_page.py TRIVIUM FOLDER [TEST...]     closes with "N passed, N failed"

After each test the rankings file must hold each judgment once. Seen to fail on purpose: with innerHTML in text.js
(hostile), without what save() stores (reload) or what remember() stores (undo), without reservations in the session
(two_people), without the judgment that is sent again to a server that is back (killed).
"""

import json
import os
import pathlib
import sys
import time
import traceback

from ranker import Ranker, by_position, equal, items
from webdriver import Browser, Driver

PLACED = "return JSON.stringify(work.groups)"
SHOWN = "return work.item && !work.busy ? work.item.presentation : null"


class Tests:
    def __init__(self, trivium, folder, driver):
        self.trivium, self.folder = trivium, folder
        self.driver, self.others = driver, []
        self.ada, self.ben = Browser(driver), Browser(driver)

    def ranker(self, name, lines, **how):
        self.server = Ranker(self.trivium, self.folder / name, lines, **how)
        return self.server

    def browser(self):
        """One more, until the test ends."""
        self.others.append(Browser(self.driver))
        return self.others[-1]

    def begin(self, browser, server, annotator):
        browser.open(server.url(annotator))
        return browser.wait(SHOWN)

    def submit(self, browser, *keys):
        """Presses the keys and waits for the next item, or for the end."""
        before = browser.run(SHOWN)
        browser.press(*keys)
        browser.wait("return !work.busy && !work.lost && (work.item ? work.item.presentation : -1) !== arguments[0]", before)

    # ---- tests ----

    def keyboard(self):
        server, ada = self.ranker("keyboard", items(5, 4)), self.ada
        self.begin(ada, server, "Ada")
        self.submit(ada, "3", "1", "=", "2", "4", "Enter")
        ada.press("4", "3", "2", "1", "ArrowUp", "ArrowUp")  # 4 1 3 2
        ada.press("3", "ArrowDown")  # 4 1 2 3
        ada.press("2", "t", "t", "t", "Escape")  # 4 1=2 3
        equal(ada.run(PLACED), "[[3],[0,1],[2]]", "order after arrows and ties")
        ada.press(".", ".", ".", ",", "c")
        ada.type("why? <b>")
        ada.press("Escape")
        self.submit(ada, "Enter")
        self.submit(ada, "s")
        self.submit(ada, "x")
        ada.press("2", "Enter")
        ada.wait("return !document.getElementById('notice').hidden")
        equal(len(server.lines()), 4, "judgments after Enter with three answers left")
        self.submit(ada, "1", "3", "Enter")  # the last one goes last
        assert ada.run("return !document.getElementById('done').hidden"), "no end is shown"
        lines = server.once(5)
        equal(by_position(lines[0]), [[0, 2], [1], [3]], "first ranking")
        equal(by_position(lines[1]), [[3], [0, 1], [2]], "second ranking")
        equal((lines[1]["confidence"], lines[1]["comment"]), (2, "why? <b>"), "sureness and comment")
        equal((lines[2]["ranking"], lines[2]["flags"]), (None, ["skip"]), "skip")
        equal(lines[3]["flags"], ["all_bad"], "all bad")
        equal(by_position(lines[4]), [[1], [0], [2], [3]], "last ranking")
        assert all(0 < line["t_shown"] <= line["t_done"] for line in lines), "times"
        equal({line["annotator"] for line in lines}, {"Ada"}, "annotator")
        code, said = server.interrupt()
        equal(code, 0, "exit code after the last item")
        assert "rankings.jsonl" in said, said

    def every_k(self):
        server, ada = self.ranker("every_k", [dict(items(1, k)[0], id=f"q{k}") for k in range(2, 10)]), self.ada
        self.begin(ada, server, "Ada")
        for _ in range(2, 10):
            k = ada.run("return work.item.k")
            self.submit(ada, *[str(digit) for digit in range(k, 0, -1)], "Enter")
        for line in server.once(8):
            k = len(line["responses"])
            equal(by_position(line), [[k - 1 - i] for i in range(k)], f"ranking of {k}")

    def dragging(self):
        server, ada = self.ranker("dragging", items(3, 4)), self.ada
        self.begin(ada, server, "Ada")
        handle, place = ".handle[data-card='{}']", ".place[data-index='{}']"
        ada.drag(ada.point(handle.format(2)), ada.point("#order", 0.5, 0.9))
        equal(ada.run(PLACED), "[[2]]", "dropped into the empty order")
        ada.drag(ada.point(handle.format(0)), ada.point(place.format(0), 0.5, 0.05))
        equal(ada.run(PLACED), "[[0],[2]]", "dropped above the first place")
        ada.drag(ada.point(handle.format(1)), ada.point(place.format(1), 0.5, 0.95))
        equal(ada.run(PLACED), "[[0],[2],[1]]", "dropped below the last place")
        ada.drag(ada.point(handle.format(3)), ada.point(place.format(1)))
        equal(ada.run(PLACED), "[[0],[2,3],[1]]", "dropped onto a place")
        ada.drag(ada.point(".place .chip[data-card='1']"), ada.point(place.format(0), 0.5, 0.05))
        equal(ada.run(PLACED), "[[1],[0],[2,3]]", "a chip dragged to the top")
        ada.drag(ada.point(".place .chip[data-card='2']"), (30, 870))
        equal(ada.run(PLACED), "[[1],[0],[2,3]]", "dropped nowhere")
        self.submit(ada, "Enter")
        # Onto a card: as good as that one. By finger.
        ada.drag(ada.point(handle.format(0)), ada.point(".card[data-card='2']"), "touch")
        equal(ada.run(PLACED), "[[2,0]]", "a card dropped onto a card")
        ada.drag(ada.point(handle.format(3)), ada.point("#order", 0.5, 0.3), "touch")
        ada.drag(ada.point(".place .chip[data-card='0']"), ada.point("#rest"), "touch")
        assert "0" not in ada.run(PLACED), "a chip dropped back among the rest"
        ada.click("#undo")
        ada.click(handle.format(1))
        equal(sorted(json.loads(ada.run(PLACED))[-1]), [1], "a heading that was clicked")
        ada.click("#submit")
        ada.wait("return work.item && work.groups.length === 0")
        # In a narrow window the order is a strip, and places are left and right.
        ada.resize(400, 800)
        ada.press("1", "2", "3")
        ada.drag(ada.point(".place .chip[data-card='2']"), ada.point(place.format(0), 0.05, 0.5), "touch")
        equal(ada.run(PLACED), "[[2],[0],[1]]", "dropped to the left in a narrow window")
        ada.drag(ada.point("#rest .chip[data-card='3']"), ada.point(place.format(1), 0.4, 0.5), "touch")
        equal(ada.run(PLACED), "[[2],[0,3],[1]]", "dropped onto a chip in a narrow window")
        ada.resize(1440, 900)
        self.submit(ada, "Enter")
        lines = server.once(3)
        equal(by_position(lines[0]), [[1], [0], [2, 3]], "the first ranking in the file")
        equal(by_position(lines[2]), [[2], [0, 3], [1]], "the last ranking in the file")

    def undo(self):
        server, ada = self.ranker("undo", items(3, 3)), self.ada
        first = self.begin(ada, server, "Ada")
        ada.press("1", "2", "u")
        equal(ada.run(PLACED), "[[0]]", "one step undone")
        ada.press("Backspace", "3", "2", "1")
        self.submit(ada, "Enter")
        self.submit(ada, "1", "2", "3", "Enter")
        equal(len(server.lines()), 2, "judgments before undoing")
        self.submit(ada, "u")
        equal(ada.run(PLACED), "[[0],[1],[2]]", "the second ranking as it was")
        self.submit(ada, "u", "u", "u", "u")  # its three answers, then the judgment before
        equal(server.lines(), [], "judgments after undoing both")
        equal(ada.run(SHOWN), first, "the item that is open again")
        equal(ada.run(PLACED), "[[2],[1],[0]]", "its ranking as it was")
        ada.press("ArrowUp", "u", "u")
        equal(ada.run(PLACED), "[[2]]", "its ranking, step by step")
        ada.press("1", "2")
        self.submit(ada, "Enter")
        self.submit(ada, "2", "Backspace", "1", "2", "Enter")
        self.submit(ada, "1", "2", "Enter")
        self.submit(ada, "u")  # from the end
        self.submit(ada, "Enter")
        equal(by_position(server.once(3)[0]), [[2], [0], [1]], "the corrected ranking")

    def reload(self):
        server, ada = self.ranker("reload", items(2, 4)), self.ada
        shown = self.begin(ada, server, "Ada")
        ada.press("4", "2", "=", ".", "c")
        ada.type("half")
        order = ada.run("return work.item.texts")
        time_shown = ada.run("return work.item.t_shown")
        for _ in range(2):
            ada.refresh()
            equal(ada.wait(SHOWN), shown, "the item after a reload")
            equal(ada.run("return work.item.texts"), order, "its answers")
            equal(ada.run(PLACED), "[[3,1]]", "its ranking")
            equal(ada.run("return document.getElementById('comment').value"), "half", "its comment")
            equal(ada.run("return work.item.t_shown"), time_shown, "its time")
        ada.press("u")
        equal(ada.run(PLACED), "[[3],[1]]", "a step undone that was made before the reload")
        self.submit(ada, "=", "1", "Enter")
        self.submit(ada, "1", "2", "3", "Enter")
        line = server.once(2)[0]
        equal((by_position(line), line["confidence"], line["comment"]), ([[1, 3], [0], [2]], 1, "half"), "the judgment")

    def two_people(self):
        server = self.ranker("two_people", items(8, 3))
        self.begin(self.ada, server, "Ada")
        self.begin(self.ben, server, "Ben")
        for _ in range(4):
            ids = [browser.run("return work.item.id") for browser in (self.ada, self.ben)]
            assert ids[0] != ids[1], f"both have {ids[0]}"
            self.submit(self.ada, "1", "2", "3", "Enter")
            self.submit(self.ben, "3", "2", "1", "Enter")
        lines = server.once(8)
        equal(sorted(line["annotator"] for line in lines), ["Ada"] * 4 + ["Ben"] * 4, "annotators")

    def two_tabs(self):
        """One person twice: the same item in both, and only the first answer counts."""
        server = self.ranker("two_tabs", items(2, 2))
        equal(self.begin(self.ada, server, "Ada"), self.begin(self.ben, server, "Ada"), "item of both tabs")
        self.submit(self.ada, "1", "2", "Enter")
        self.submit(self.ben, "2", "1", "Enter")
        self.ben.wait("return document.getElementById('notice').textContent.includes('already')")
        self.submit(self.ben, "2", "1", "Enter")
        equal([by_position(line) for line in server.once(2)], [[[0], [1]], [[1], [0]]], "rankings")

    def killed(self):
        server, ada = self.ranker("killed", items(3, 4)), self.ada
        shown = self.begin(ada, server, "Ada")
        ada.press("2", "4")
        server.kill()
        ada.press("1", "3", "Enter")
        ada.wait("return document.getElementById('notice').dataset.kind === 'lost' && !document.getElementById('notice').hidden")
        equal(ada.run("return [work.item.presentation, JSON.stringify(work.groups)]"), [shown, "[[1],[3],[0],[2]]"],
              "the work while the server is gone")
        server.start()
        ada.wait("return !work.lost && work.item && work.item.presentation !== arguments[0]", shown)
        equal(by_position(server.once(1)[0]), [[1], [3], [0], [2]], "what was submitted without a server")
        # Restarted unnoticed: the link holds.
        ada.press("3", "1")
        server.kill()
        server.start()
        self.submit(ada, "2", "4", "Enter")
        equal(by_position(server.once(2)[1]), [[2], [0], [1], [3]], "what was submitted to another start")
        # Gone before a reload.
        ada.press("4", "3")
        server.kill()
        ada.press("2")
        server.start()
        ada.refresh()
        ada.wait(SHOWN)
        equal(ada.run(PLACED), "[[3],[2],[1]]", "the ranking after a restart and a reload")
        self.submit(ada, "Enter")
        server.once(3)

    def killed_after(self):
        """The judgment reached the file and the answer did not reach the page: it is not written again."""
        server, ada = self.ranker("killed_after", items(3, 2)), self.ada
        self.begin(ada, server, "Ada")
        ada.run("const real = window.fetch; window.fetch = async (...args) => {"
                " const reply = await real(...args); if (args[0] === '/api/judge') { window.fetch = real; throw new TypeError('cut'); }"
                " return reply; }")
        self.submit(ada, "2", "1", "Enter")
        server.once(1)
        ada.run("const real = window.fetch; window.fetch = async (...args) => {"
                " if (args[0] === '/api/judge') { window.fetch = real; throw new TypeError('cut'); } return real(...args); }")
        self.submit(ada, "1", "2", "Enter")
        self.submit(ada, "1", "2", "Enter")
        equal([by_position(line) for line in server.once(3)], [[[1], [0]], [[0], [1]], [[0], [1]]], "rankings")

    def hostile(self):
        texts = ["<script>document.title='owned';alert(1)</script><img src=x onerror=\"alert(2)\"><svg/onload=alert(3)>",
                 "</div></article></script><script>alert(4)</script><!--", "\u202egnitirw tfel\u202c \u2066x\u2069 \u200f\u200b",
                 "\x1b[31mred\x1b[0m\x07\x08 \x1b]0;owned\x07 a\u0085b", "", "{{7*7}} ${alert(5)} `'\"\\ &lt;b&gt; &amp;",
                 "שלום (abc) 123", "javascript:alert(6)", "w" * 5000]
        line = json.dumps({"id": "<b>q</b>", "prompt": [{"role": "<i>user</i>", "content": "<img src=x onerror=alert(7)>\u202e"}],
                           "responses": [{"id": f"<r{i}>", "text": text} for i, text in enumerate(texts)]},
                          ensure_ascii=False).encode() + b"\n"
        broken = (b'{"id": "bytes", "prompt": "\xff\xfe <b>\xc3", "responses": [{"id": "a", "text": "cut \xe2\x82 \xed\xa0\x80 here"}, '
                  b'{"id": "b", "text": "zero \\u0000 and\\tescapes"}]}\n')
        server, ada = self.ranker("hostile", [line, broken]), self.ada
        self.begin(ada, server, "Ada")
        ada.console()
        equal(ada.run("return document.querySelectorAll('#desk :is(script, img, svg, b, i, a, iframe, style)').length"), 0,
              "elements made of text that is read as Markdown")
        ada.press("m")
        shown = ada.run("return Object.fromEntries([...document.querySelectorAll('.card .text')].map("
                        "(e, i) => [work.item.texts[i], e.textContent]))")
        symbols = {"\u202e": "RLO", "\u202c": "PDF", "\u2066": "LRI", "\u2069": "PDI", "\u200f": "RLM", "\u200b": "ZWSP",
                   "\x1b": "ESC", "\x07": "BEL", "\x08": "BS", "\u0085": "U+0085"}
        for text in texts:
            expected = "".join(symbols.get(character, character) for character in text) or "(empty answer)"
            equal(shown[text], expected, "an answer as it is shown")
        equal(ada.run("return document.querySelector('#prompt .text').textContent"), "<img src=x onerror=alert(7)>RLO", "prompt")
        equal(ada.run("return document.querySelectorAll('#desk script, #desk img, #desk svg, #desk b, #desk i, #desk a').length"), 0,
              "elements made of text")
        equal(ada.run("return document.title"), "trivium rank, 0 of 2", "title")
        assert all(ada.run("return [...document.querySelectorAll('.card .text')].map(e =>"
                           " e.dir === 'auto' && getComputedStyle(e).unicodeBidi.startsWith('isolate'))")), "isolation of answers"
        for width in (1440, 400):
            ada.resize(width, 900)
            equal(ada.run("return document.documentElement.scrollWidth <= window.innerWidth"), True, f"fits {width} pixels")
        ada.resize(1440, 900)
        ada.press(*"123456789")
        self.submit(ada, "Enter")
        equal(ada.run("return [...document.querySelectorAll('.card .text')].map(e => e.textContent).sort()"),
              ["cut \ufffd \ufffd\ufffd\ufffd here", "zero NUL and\tescapes"], "invalid UTF-8 as it is shown")
        self.submit(ada, "1", "2", "Enter")
        ada.press("m")
        equal(ada.console(), [], "the console")
        written = server.out.read_bytes().splitlines(keepends=True)
        for source, judged in zip((line, broken), written):
            start = source.index(b'"responses"') + len(b'"responses":')
            body = source[start:].strip()[:-1].strip()
            assert body in judged, f"the answers are not in the file as they were: {judged[:300]}"
        server.once(2)

    def markdown(self):
        """Elements of a few names, text in them, and no address but the web's that a click would follow."""
        tick = "`" * 3
        good = ("# Title\n\nOne *two* **three** ~~four~~ `a < b` and\nthe next line\n\n1. first\n2. second\n   - inner\n\n"
                f"{tick}python\nif a < b:\n\tprint(\"<b>\")\n{tick}\n\n| x | y |\n|---|---:|\n| 1 | 2 |\n\n> said\n\n- [x] done\n- [ ] open\n")
        bad = ("<script>alert(1)</script> <img src=x onerror=alert(2)> <b>bold</b>\n\n<iframe src='https://example.org'></iframe>\n\n"
               "[j](javascript:alert(3)) [d](data:text/html,<script>alert(4)</script>) [v](vbscript:x) [J](JaVaScRiPt:alert(5))\n"
               "[e](&#106;avascript:alert(6)) [t](\tjavascript:alert(7)) [r](/api/next) [f](file:///etc/passwd) <javascript:alert(8)>\n"
               "![pixel](https://example.org/pixel.png) ![](data:image/png;base64,AAAA)\n"
               "[bank.example](https://evil.example/x) https://plain.example/y [quote](https://a.example/\"onclick=alert(9))\n"
               "&#0; &#x202e;abc &#xd800; &lt;b&gt; \u202eabc `\x1b[31m`\n\n" + ">" * 300 + " deep\n\n" + "- " * 300 + "deep")
        server, ada = self.ranker("markdown", [{"id": "q", "prompt": [
            {"role": "user", "content": "*as written* <b>"}, {"role": "assistant", "content": "*rendered*"},
            {"role": "user", "content": "and?"}],
            "responses": [{"id": "good", "text": good}, {"id": "bad", "text": bad}]}]), self.ada
        self.begin(ada, server, "Ada")
        ada.console()
        card = ada.run("return work.item.texts.findIndex(text => text.startsWith('# Title'))")
        html = ada.run("return document.querySelectorAll('.card .text')[arguments[0]].innerHTML", card)
        for part in ('<h3 class="h1">Title</h3>', "<em>two</em>", "<strong>three</strong>", "<del>four</del>",
                     "<code>a &lt; b</code> and<br>the next line", '<ol dir="auto"><li>first</li>', '<ul dir="auto"><li>inner', '<div class="language">python</div>',
                     '<pre dir="ltr" tabindex="0"><code>if a &lt; b:\n\tprint("&lt;b&gt;")\n</code></pre>', '<td class="right">2</td>',
                     "<blockquote", 'class="task">☑ done', 'class="task">☐ open'):
            assert part in html, f"expected {part} in {html}"
        mono = ada.run("return getComputedStyle(document.querySelector('.card pre code')).fontFamily")
        assert "mono" in mono.lower(), f"code is set in {mono}"
        found = ada.run("const box = document.querySelectorAll('.card .text')[1 - arguments[0]]; return {"
                        " tags: [...new Set([...box.querySelectorAll('*')].map(e => e.localName))].sort(),"
                        " links: [...box.querySelectorAll('a')].map(e => [e.href, e.rel, e.target]),"
                        " attributes: [...new Set([...box.querySelectorAll('*')].flatMap(e => e.getAttributeNames()))].sort(),"
                        " text: box.textContent, depth: Math.max(...[...box.querySelectorAll('*')].map(e => {"
                        " let n = 0; for (let at = e; at !== box; at = at.parentElement) n++; return n; }))}", card)
        assert set(found["tags"]) <= {"p", "br", "span", "a", "code", "blockquote", "ul", "li", "div", "pre"}, found["tags"]
        assert set(found["attributes"]) <= {"class", "dir", "href", "rel", "target", "title", "tabindex"}, found["attributes"]
        equal([link[0] for link in found["links"]],
              ["https://evil.example/x", "https://plain.example/y", "https://a.example/%22onclick=alert(9)"], "links")
        equal({(link[1], link[2]) for link in found["links"]}, {("noopener noreferrer nofollow", "_blank")}, "what links say")
        for part in ("<script>alert(1)</script>", "<b>bold</b>", "j (javascript:alert(3))", "bank.example (evil.example)",
                     "image: pixel (https://example.org/pixel.png)", "NUL", "RLOabc", "ESC[31m", "<b>"):
            assert part in found["text"] or part == "NUL", f"expected {part} in {found['text'][:1500]}"
        assert found["depth"] <= 60, f"elements are nested {found['depth']} deep"
        equal(ada.run("return [...document.querySelectorAll('#prompt .text')].map(e => e.innerHTML)"),
              ["*as written* &lt;b&gt;", "<p><em>rendered</em></p>", "and?"], "turns of the prompt")
        own = ada.run("return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin))")
        equal(own, [], "resources from elsewhere")
        equal(ada.console(), [], "the console")
        # The switch shows what was written, and is remembered.
        ada.press("2", "m")
        equal(ada.run("return [...document.querySelectorAll('.card .text')][arguments[0]].textContent", card), good, "the plain text")
        equal(ada.run(PLACED), "[[1]]", "the ranking after the switch")
        ada.refresh()
        ada.wait(SHOWN)
        equal(ada.run("return [...document.querySelectorAll('.card .text')][arguments[0]].textContent", card), good, "plain text after a reload")
        ada.click("#form-button")
        assert ada.run("return document.querySelector('.card h3') !== null"), "the button does not bring Markdown back"
        self.submit(ada, "1", "Enter")
        server.once(1)

    def twelve(self):
        """More answers than digits: by clicks and by dragging."""
        server, ada = self.ranker("twelve", items(2, 12)), self.ada
        self.begin(ada, server, "Ada")
        handle = ".handle[data-card='{}']"
        equal(ada.run("return [...document.querySelectorAll('.rank')].map(e => e.textContent).join('')"), "", "places before any is placed")
        ada.drag(ada.point(handle.format(11)), ada.point("#order", 0.5, 0.3))
        equal(ada.run("return [...document.querySelectorAll('.rank')].map(e => e.textContent).filter(Boolean)"), ["1st"], "places")
        ada.click(handle.format(10))
        ada.press("1")
        ada.drag(ada.point(handle.format(9)), ada.point(".place[data-index='0']", 0.5, 0.05))
        ada.drag(ada.point("#rest .chip[data-card='8']"), ada.point(".place[data-index='1']"))
        equal(ada.run(PLACED), "[[9],[11,8],[10],[0]]", "the order")
        for card in range(1, 8):
            ada.run("document.querySelector(arguments[0]).scrollIntoView()", handle.format(card))
            ada.run("document.querySelector(arguments[0]).click()", handle.format(card))
        self.submit(ada, "Enter")
        self.submit(ada, "s")
        equal(by_position(server.once(2)[0]), [[9], [8, 11], [10], [0], *[[card] for card in range(1, 8)]], "the ranking")

    def team(self):
        """Three annotators at another address with their links and guidelines, one leaves in the middle; the organiser follows."""
        folder = self.folder / "team"
        folder.mkdir(parents=True, exist_ok=True)
        rules = folder / "guidelines.md"
        rules.write_text("# What is good\n\n- **True** before *nice*\n- `code` that runs\n\n<script>alert(1)</script>\n")
        server = self.ranker("team", items(6, 3), annotators=("Ada", "Ben", "Kim <i>"),
                             options=("--listen", "127.0.0.2", "--url", "http://127.0.0.2:8137/", "--port", "8137",
                                      "--away", "0.05", "--guidelines", str(rules), "--overlap", "1"))
        ada, ben, kim = self.ada, self.ben, self.browser()
        for browser, name in ((ada, "Ada"), (ben, "Ben"), (kim, "Kim <i>")):
            self.begin(browser, server, name)
            equal(browser.run("return work.annotator"), name, "the name of the link")
            equal(browser.run("return location.hash"), "", "the secret in the address bar")
            assert browser.run("return document.getElementById('who').disabled"), "a link's name can be changed"
        equal(ada.run("const g = document.getElementById('guidelines'); return [g.hidden, g.querySelector('h3').textContent,"
                      " g.querySelector('script')]"), [False, "What is good", None], "the guidelines")
        ada.press("g")
        assert ada.run("return document.getElementById('guidelines').hidden"), "g does not hide the guidelines"
        ada.refresh()
        ada.wait(SHOWN)
        assert ada.run("return document.getElementById('guidelines').hidden"), "hidden guidelines come back"
        ada.press("g")
        equal(len({browser.run("return work.item.id") for browser in (ada, ben, kim)}), 3, "items of three people")
        self.submit(kim, "1", "2", "3", "Enter")
        kim.open("about:blank")  # in the middle of an item
        for browser in (ada, ben):
            for _ in range(6):
                if not browser.wait("return (work.item && !work.busy) || !document.getElementById('done').hidden", seconds=30):
                    break
                if browser.run("return work.item === null"):
                    browser.wait(SHOWN, seconds=30)
                self.submit(browser, "2", "3", "1", "Enter")
        lines = server.lines()
        equal(sorted(line["annotator"] for line in lines), ["Ada"] * 6 + ["Ben"] * 6 + ["Kim <i>"], "judgments")
        # The organiser's page.
        kim.open(server.url("follow"))
        kim.wait("return document.querySelectorAll('#people tbody tr').length === 3")
        rows = kim.run("return [...document.querySelectorAll('#people tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
        equal([row[:3] for row in rows], [["Ada", "6", "0"], ["Ben", "6", "0"], ["Kim <i>", "1", "0"]], "the table of people")
        equal(kim.run("return document.getElementById('judged-items').textContent"), "6 of 6", "items")
        equal(kim.run("return [...document.querySelectorAll('#pairs tbody tr')].map(r => [...r.cells].slice(0, 2).map(c => c.textContent))"),
              [["Kim <i> and Ada", "1"], ["Kim <i> and Ben", "1"], ["Ada and Ben", "6"]], "the table of pairs")
        for width in (1400, 420):
            for scheme in ("light", "dark"):
                kim.resize(width, 900)
                kim.prefer(scheme)
                equal(kim.run("return document.documentElement.scrollWidth <= innerWidth"), True, f"the organiser's page fits {width} pixels")
                kim.screenshot(folder / f"organiser-{width}-{scheme}.png")
        # Somebody who has only the address.
        stranger = self.browser()
        stranger.open("http://127.0.0.2:8137/")
        stranger.wait("return document.getElementById('done-title').textContent.includes('needs its link')")

    def looks(self):
        """Every number of answers in wide and narrow windows, light and dark: nothing is cut off or lies on something else. The
        pictures stay in the folder, to be looked at."""
        folder = self.folder / "looks"
        folder.mkdir(parents=True, exist_ok=True)
        rules = folder / "guidelines.md"
        rules.write_text("# How to rank\n\nRank what **helps the one who asked** most.\n\n1. Is it *true*?\n2. Does it answer the question?\n"
                         "3. Is it as short as it can be?\n\n> When two are as good, tie them.\n\nCode must run: `python3 x.py`.\n")
        tick = "`" * 3
        texts = ["## Sorting\n\nUse `sorted`, which **returns a new list**:\n\n" + tick + "python\ndef by_length(words):\n    # stable: equal lengths keep their order\n"
                 "    return sorted(words, key=lambda word: (len(word), word.casefold()), reverse=False)\n" + tick + "\n\n- stable\n- O(n log n)\n",
                 "השתמשו בפונקציה `sorted` כדי למיין רשימה:\n\n1. היא מחזירה רשימה חדשה\n2. היא **יציבה**\n\n" + tick + "\nsorted(words, key=len)\n" + tick,
                 "| method | in place | returns |\n|---|:-:|---:|\n| `sorted` | no | a list |\n| `list.sort` | yes | `None` |\n\nSee https://docs.python.org/3/howto/sorting.html "
                 "or [the page](https://example.org/sort), not [this](javascript:alert(1)).",
                 "Just call sort.", "", "> It depends.\n\n" + "A longer answer that goes on and on. " * 30]
        lines = [{"id": f"k{k}", "prompt": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "How do I sort words by length in Python?"}],
                  "responses": [{"id": f"r{i}", "text": texts[i % len(texts)]} for i in range(k)]} for k in (2, 4, 9, 12)]
        server, ada = self.ranker("looks", lines, options=("--guidelines", str(rules))), self.ada
        self.begin(ada, server, "Ada")
        for k in (2, 4, 9, 12):
            ada.resize(1400, 900)
            for card in range(k // 2):
                ada.run("document.querySelector(arguments[0]).click()", f".handle[data-card='{card}']")
            ada.press("=", ".", ".", ".")
            for width in (1400, 420):
                for scheme in ("light", "dark"):
                    ada.resize(width, 900)
                    ada.prefer(scheme)
                    ada.run("scrollTo(0, 0)")
                    equal(ada.run("return document.documentElement.scrollWidth <= innerWidth"), True, f"{k} answers fit {width} pixels")
                    cut = ada.run("return [...document.querySelectorAll('button, #hint, .legend, .label')].filter(e => e.offsetParent &&"
                                  " !e.closest('.card, .chip') && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflow === 'visible')"
                                  ".map(e => e.outerHTML)")
                    equal(cut, [], f"texts that are wider than their boxes at {width}")
                    ada.screenshot(folder / f"k{k}-{width}-{scheme}.png")
            ada.prefer("light")
            self.submit(ada, "s")
        ada.resize(1440, 900)
        server.once(4)

    def names(self):
        server, ben = self.ranker("names", items(3, 2), annotators=()), self.ben
        ben.open(f"http://127.0.0.1:{server.port}/")
        ben.wait("return document.getElementById('done-title').textContent.includes('needs its link')")
        ben.open(server.url())
        ben.wait("return document.getElementById('name-dialog').open")
        ben.type("Zoë <i>")
        ben.press("Enter")
        ben.wait(SHOWN)
        ben.refresh()
        ben.wait(SHOWN)
        equal(ben.run("return document.getElementById('name-dialog').open"), False, "the name is asked again")
        self.submit(ben, "1", "2", "Enter")
        held = ben.run("return work.item.id")
        ben.click("#who")
        ben.run("document.getElementById('name').value = ''")
        ben.type("Kim")
        ben.press("Enter")
        ben.wait("return work.annotator === 'Kim' && work.item && !work.busy")
        equal(ben.run("return work.item.id"), held, "what the first gave back")
        self.submit(ben, "1", "2", "Enter")
        equal([line["annotator"] for line in server.once(2)], ["Zoë <i>", "Kim"], "annotators")
        code, said = server.interrupt()
        equal(code, 130, "exit code with an item left")
        assert "--web" in said, f"how to go on is not said: {said}"

    def left_open(self):
        """What Ada leaves open comes to Ben, who is told that he waits for it, and Ada is told when she is back."""
        server = self.ranker("left_open", items(2, 2), options=("--away", "0.05"))
        self.begin(self.ada, server, "Ada")
        left = self.ada.run("return work.item.id")
        self.begin(self.ben, server, "Ben")
        self.submit(self.ben, "1", "2", "Enter")
        said = self.ben.run("return document.getElementById('done').textContent")
        assert "1 item is before others" in said, f"Ben is not told what he waits for: {said}"
        equal(self.ben.wait("return work.item?.id"), left, "what Ada left open")
        self.ada.run("heard = 0")
        self.ada.press("1")
        self.ada.wait("return document.getElementById('notice').textContent.includes('You were away')")
        self.submit(self.ben, "2", "1", "Enter")
        equal([line["annotator"] for line in server.once(2)], ["Ben", "Ben"], "annotators")

    def alone(self):
        """Nothing from elsewhere, and no finding of the browser about the page."""
        server, ada = self.ranker("alone", items(1, 3)), self.ada
        ada.open("about:blank")  # the page of the test before still asks for its server
        ada.console()
        self.begin(ada, server, "Ada")
        ada.press("?")
        assert ada.run("return document.getElementById('help').open"), "? does not open the help"
        ada.press("?")
        assert not ada.run("return document.getElementById('help').open"), "? does not close the help"
        own = ada.run("return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin))")
        equal(own, [], "resources from elsewhere")
        unnamed = ada.run("return [...document.querySelectorAll('button, input, textarea')].filter(e =>"
                          " !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.outerHTML)")
        equal(unnamed, [], "controls without a name")
        equal(ada.console(), [], "the console")


def main():
    trivium, folder, wanted = sys.argv[1], pathlib.Path(sys.argv[2]).absolute(), sys.argv[3:]
    names = [name for name in vars(Tests) if not name.startswith("_") and name not in ("ranker", "browser", "begin", "submit")]
    passed = failed = 0
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "chromedriver.log", "w") as log:
        driver = Driver(log)
        tests = Tests(os.path.abspath(trivium), folder, driver)
        try:
            for name in wanted or names:
                tests.server = None
                begin = time.monotonic()
                try:
                    getattr(tests, name)()
                    passed += 1
                    print(f"ok {name} ({time.monotonic() - begin:.1f} s)", flush=True)
                except Exception:  # a failure of one test must not hide the others
                    failed += 1
                    print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
                    for browser, who in ((tests.ada, "ada"), (tests.ben, "ben")):
                        try:
                            browser.screenshot(folder / f"{name}.{who}.png")
                        except Exception as error:
                            print(f"no screenshot: {error}")
                finally:
                    while tests.others:
                        tests.others.pop().close()
                    if tests.server and tests.server.process.poll() is None:
                        tests.server.kill()
        finally:
            for browser in (tests.ada, tests.ben):
                browser.close()
            driver.close()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
