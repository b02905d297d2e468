"""A web ranker over a file of candidates, for tests that open its page."""

import json
import signal
import subprocess


def equal(found, expected, what):
    assert found == expected, f"{what}: expected {expected!r}, found {found!r}"


class Ranker:
    """A file of candidates, a file of rankings, and the server between them."""

    def __init__(self, trivium, folder, lines, annotators=("Ada", "Ben"), options=()):
        folder.mkdir(parents=True, exist_ok=True)
        self.trivium = trivium
        self.candidates, self.out = folder / "candidates.jsonl", folder / "rankings.jsonl"
        self.candidates.write_bytes(b"".join(line if isinstance(line, bytes) else
                                             json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines))
        self.out.unlink(missing_ok=True)
        self.port = 0
        self.annotators, self.options = annotators, options
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.trivium, "rank", "--candidates", self.candidates, "--out", self.out, "--web", "--port",
             str(self.port), "--overlap", "0", "--repeats", "0", *self.options,
             *(["--annotator", *self.annotators] if self.annotators else [])],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said, self.links = [], {}
        for line in self.process.stdout:
            self.said.append(line)
            if "http" in line and " at http" in line:
                who, link = line.strip().split(" at ")
                self.links[who.removesuffix(" ranks")] = link  # a name, "rank" for anyone, "follow" for the organiser
            if line.startswith("follow at "):
                self.port = int(line.split(":")[2].split("/")[0])
                return
        raise AssertionError("the ranker did not start: " + "".join(self.said))

    def url(self, annotator="rank"):
        return self.links[annotator]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=20)[0]
        return self.process.returncode, said

    def lines(self):
        return [json.loads(line.decode(errors="replace")) for line in self.out.read_bytes().split(b"\n") if line]

    def once(self, count):
        """The lines, after a check that no item is there twice and none is missing."""
        lines = self.lines()
        equal(sorted(line["id"] for line in lines), sorted({line["id"] for line in lines}), "judged items")
        equal(len(lines), count, "judgments")
        return lines


def by_position(line):
    """The ranking of a line in display positions, ties sorted."""
    return [sorted(line["order"].index(answer) for answer in group) for group in line["ranking"]]


def items(count, k, prompt="Which one?"):
    return [{"id": f"q{n}", "prompt": prompt,
             "responses": [{"id": f"r{i}", "text": f"Answer {i} to question {n}."} for i in range(k)]}
            for n in range(count)]
