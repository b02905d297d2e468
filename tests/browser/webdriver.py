"""Drives a headless Chromium through chromedriver, with nothing but Python's standard library.

The WebDriver protocol (w3.org/TR/webdriver2) is JSON over HTTP: one Browser is one session with a fresh profile. Names
of methods are the protocol's own where it has one.
"""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key of an element
KEYS = {"Enter": "\ue007", "Backspace": "\ue003", "Escape": "\ue00c", "Tab": "\ue004", "Control": "\ue009",
        "ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "Space": "\ue00d"}
CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync",
                  "--disable-dev-shm-usage", "--hide-scrollbars"]


class DriverError(Exception):
    pass


class Driver:
    """chromedriver on a free port; close() ends it."""

    def __init__(self, log):
        # The server that is tested is reached directly, whatever proxies the environment names.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if "started successfully on port" in line:
                self.port = int(line.rsplit("port", 1)[1].strip(" .\n"))
                return
        raise DriverError("chromedriver did not start")

    def call(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with self.opener.open(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise DriverError(f"{method} {path}: {value['error']}: {value['message'].splitlines()[0]}") from None

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()


class Browser:
    def __init__(self, driver, width=1440, height=900):
        self.driver = driver
        self.profile = tempfile.mkdtemp(prefix="trivium-browser-")
        options = {"args": CHROMIUM_FLAGS + [f"--user-data-dir={self.profile}", "--no-proxy-server"]}
        binary = shutil.which("chromium")
        if binary:
            options["binary"] = binary
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
                                        "goog:loggingPrefs": {"browser": "ALL"}, "unhandledPromptBehavior": "ignore"}}
        self.session = "/session/" + driver.call("POST", "/session", {"capabilities": capabilities})["sessionId"]
        self.resize(width, height)

    def close(self):
        self.driver.call("DELETE", self.session)
        shutil.rmtree(self.profile, ignore_errors=True)

    def post(self, path, body=None):
        return self.driver.call("POST", self.session + path, body)

    def get(self, path):
        return self.driver.call("GET", self.session + path)

    def open(self, url):
        self.post("/url", {"url": url})

    def refresh(self):
        self.post("/refresh")

    def run(self, script, *args):
        """The value of `script`, the body of a function with `arguments`."""
        return self.post("/execute/sync", {"script": script, "args": list(args)})

    def wait(self, script, *args, seconds=15):
        """Waits until the script gives something true, and returns it."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.run(script, *args)
            if value:
                return value
            if time.monotonic() > deadline:
                raise DriverError(f"waited {seconds} s in vain for: {script} {args or ''}")
            time.sleep(0.05)

    def find(self, selector):
        return self.post("/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.post(f"/element/{self.find(selector)}/click")

    def press(self, *keys):
        """Names of KEYS or characters, one after the other; "Control+Enter" holds the first."""
        actions = []
        for key in keys:
            parts = key.split("+") if len(key) > 1 else [key]
            values = [KEYS.get(part, part) for part in parts]
            actions += [{"type": "keyDown", "value": value} for value in values]
            actions += [{"type": "keyUp", "value": value} for value in reversed(values)]
        self.post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def type(self, text):
        self.press(*text)

    def drag(self, start, end, pointer="mouse"):
        """From point to point of the window, in steps as a hand makes them."""
        path = [(start[0] + (end[0] - start[0]) * i / 8, start[1] + (end[1] - start[1]) * i / 8) for i in range(9)]
        actions = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 15} for x, y in path]
        actions.insert(1, {"type": "pointerDown", "button": 0})
        actions.append({"type": "pointerUp", "button": 0})
        self.post("/actions", {"actions": [{"type": "pointer", "id": "the " + pointer,
                                            "parameters": {"pointerType": pointer}, "actions": actions}]})

    def move(self, *points):
        """The mouse to each point of the window, no button held."""
        self.post("/actions", {"actions": [{"type": "pointer", "id": "the mouse", "parameters": {"pointerType": "mouse"},
                                            "actions": [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 15}
                                                        for x, y in points]}]})

    def point(self, selector, across=0.5, down=0.5):
        """A point of the element, scrolled into view, as parts of its size."""
        box = self.run("const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'nearest'});"
                       "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]", selector)
        return box[0] + box[2] * across, box[1] + box[3] * down

    def cdp(self, command, **params):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": params})

    def resize(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def console(self):
        """What the page wrote to its console since the last call, errors of scripts and policies among it."""
        return [entry["message"] for entry in self.post("/se/log", {"type": "browser"})]

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.get("/screenshot")))
