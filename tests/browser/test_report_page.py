"""The report that follows runs, in headless Chromium: `trivium report --follow`.

usage: test_report_page.py TRIVIUM FOLDER [TEST...]     closes with "N passed, N failed"

A run grows by lines as a training command writes them. Seen to fail on purpose: without restore() in the page's script
(kept), with a page that is replaced under the pointer (values), without the nonce in the policy (grows).
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import traceback

from webdriver import Browser, Driver

LAST = "const t = [...document.querySelectorAll('.tile')].find(t => t.textContent.includes('steps')); return t && t.querySelector('b').textContent"


def equal(found, expected, what):
    assert found == expected, f"{what}: expected {expected!r}, found {found!r}"


class Run:
    """A run directory that grows, as if something trained it."""

    def __init__(self, path, stage="sft"):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.path, self.stage, self.step = path, stage, 0

    def grow(self, steps):
        with open(self.path / "metrics.jsonl", "a") as file:
            for _ in range(steps):
                self.step += 1
                line = {"stage": self.stage, "step": self.step, "loss": 4 / self.step ** 0.2, "grad_norm": 1, "lr": 1e-3,
                        "tokens": 100 * self.step, "tokens_per_second": 50}
                if self.step % 10 == 0:
                    line["val_loss"] = line["loss"] + 0.1
                file.write(json.dumps(line) + "\n")


class Tests:
    def __init__(self, trivium, folder, driver):
        self.trivium, self.folder = trivium, folder
        self.browser = Browser(driver, 1400, 1000)
        self.server = None

    def _follow(self, *runs):
        self.server = subprocess.Popen([self.trivium, "report", *[run.path for run in runs], "--follow"],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.server.stdout:
            if line.startswith("follow at "):
                self.url = line.split(" at ")[1].strip()
                self.browser.open(self.url)
                return self.browser
        raise AssertionError("the server did not start")

    def grows(self):
        """New steps come by themselves, from nothing on; nothing is loaded from elsewhere or refused."""
        run = Run(self.folder / "grows")
        (run.path / "config.json").write_text('{"train":{"steps":90}}')
        page = self._follow(run)
        page.wait("return document.body.textContent.includes('no steps in metrics.jsonl yet')")
        page.console()
        run.grow(12)
        page.wait(f"{LAST} === '12'")
        first = page.run("return document.querySelector('#chart-loss .line').getAttribute('d').length")
        run.grow(30)
        page.wait(f"{LAST} === '42'")
        assert page.run("return document.querySelector('#chart-loss .line').getAttribute('d').length") > first, "the curve is the old one"
        assert "following" in page.run("return document.getElementById('live').textContent"), "the page does not say so"
        equal(page.console(), [], "the console")

    def kept(self):
        """What was hidden, opened and scrolled to stays so when the page is new."""
        one, two = Run(self.folder / "one"), Run(self.folder / "two")
        one.grow(20)
        two.grow(20)
        page = self._follow(one, two)
        page.wait("return document.getElementById('live').textContent.includes('last news')")
        page.run("document.getElementById('show1').click(); document.querySelectorAll('details').forEach(d => d.open = true);"
                 "scrollTo(0, 300)")
        mark = "return document.querySelector('main').dataset.old === undefined"
        page.run("document.querySelector('main').dataset.old = '1'")
        one.grow(5)
        page.wait(mark)
        equal(page.run("return [document.getElementById('show0').checked, document.getElementById('show1').checked]"), [True, False], "checked")
        assert page.run("return [...document.querySelectorAll('details')].every(d => d.open)"), "details were closed"
        equal(page.run("return Math.round(scrollY)"), 300, "scrolled to")

    def values(self):
        """The pointer over a chart reads values; the page waits until it is gone, and then reads newer ones."""
        run = Run(self.folder / "values")
        run.grow(20)
        page = self._follow(run)
        page.wait("return document.getElementById('live').textContent.includes('last news')")
        page.run("document.querySelector('main').dataset.old = '1'")
        x, y = page.point("#chart-loss .plot", 0.999)
        page.move((x - 60, y), (x, y))
        text = page.wait("const r = document.querySelector('#chart-loss .readout'); return !r.hidden && r.textContent")
        assert text.startswith("step 20") and f"training{4 / 20 ** 0.2:.4f}"[:13] in text, f"the readout says {text}"
        run.grow(5)
        time.sleep(3)
        assert page.run("return document.querySelector('main').dataset.old") == "1", "the page was replaced under the pointer"
        page.move((5, 5))
        page.wait("return document.querySelector('main').dataset.old === undefined")
        page.move((x - 60, y), (x, y))
        page.wait("const r = document.querySelector('#chart-loss .readout'); return !r.hidden && r.textContent.startsWith('step 25')")

    def ended(self):
        """A server that ended is said, and the page stays."""
        run = Run(self.folder / "ended")
        run.grow(20)
        page = self._follow(run)
        page.wait("return document.getElementById('live').textContent.includes('last news')")
        self.server.send_signal(signal.SIGINT)
        equal(self.server.wait(20), 0, "exit code")
        page.wait("return document.getElementById('live').textContent.includes('the server has ended')")
        equal(page.run(LAST), "20", "steps")


def main():
    trivium, folder, wanted = sys.argv[1], pathlib.Path(sys.argv[2]).absolute(), sys.argv[3:]
    names = [name for name in vars(Tests) if not name.startswith("_")]
    passed = failed = 0
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "chromedriver.log", "w") as log:
        driver = Driver(log)
        tests = Tests(os.path.abspath(trivium), folder, driver)
        try:
            for name in wanted or names:
                begin = time.monotonic()
                try:
                    getattr(tests, name)()
                    passed += 1
                    print(f"ok {name} ({time.monotonic() - begin:.1f} s)", flush=True)
                except Exception:  # a failure of one test must not hide the others
                    failed += 1
                    print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
                    try:
                        tests.browser.screenshot(folder / f"{name}.png")
                    except Exception as error:
                        print(f"no screenshot: {error}")
                finally:
                    if tests.server and tests.server.poll() is None:
                        tests.server.kill()
                        tests.server.wait()
        finally:
            tests.browser.close()
            driver.close()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
