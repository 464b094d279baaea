"""A file is whole or not there, whatever happens while it is written or fetched."""

import ast
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError

import pytest
from conftest import ROOT

from gdm.errors import UserError
from gdm.files import download, durable_replacement, locked, write_text


@pytest.fixture
def server(monkeypatch):
    """Serve `contents`; `sent` is how much of it goes out before the connection is closed."""

    class Handler(BaseHTTPRequestHandler):
        contents, sent, chunked = b"", None, False

        def do_GET(self):
            if not self.contents:
                return self.send_error(404)
            self.send_response(200)
            if self.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(self.contents)))
            self.end_headers()
            head = f"{len(self.contents):x}\r\n".encode() if self.chunked else b""
            self.wfile.write(head + self.contents[: self.sent])

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        Handler.url = f"http://127.0.0.1:{running.server_port}/file"
        yield Handler
        running.shutdown()


def test_text_is_written_into_new_folders_and_replaced(tmp_path):
    path = tmp_path / "new" / "text"
    write_text(path, "old")
    write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "text"
    write_text(path, "old")

    def fill_the_disk():
        with durable_replacement(path) as temporary:
            temporary.write_text("ha")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "text"
    write_text(path, "old")
    with durable_replacement(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_others_may_read_what_was_written(tmp_path):
    by_us, by_python = tmp_path / "us", tmp_path / "python"
    write_text(by_us, "")
    by_python.write_text("")
    assert by_us.stat().st_mode == by_python.stat().st_mode


def test_a_download_replaces_what_was_there(server, tmp_path):
    server.contents = bytes(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(b"more")
    download(server.url, path)
    assert path.read_bytes() == server.contents


def test_a_broken_connection_is_an_error(server, tmp_path):
    server.contents, server.sent = bytes(3000), 1000
    with pytest.raises(OSError, match="broke after 1,000 of 3,000 bytes"):
        download(server.url, tmp_path / "file")
    server.chunked = True
    with pytest.raises(OSError, match="broke"):
        download(server.url, tmp_path / "file")


def test_a_missing_file_and_a_silent_server_are_told_from_a_broken_connection(server, tmp_path):
    with pytest.raises(URLError, match="404"):
        download(server.url, tmp_path / "file")
    with pytest.raises(URLError, match="refused"):
        download("http://127.0.0.1:9/file", tmp_path / "file")


OF_UNIX = {"fcntl", "resource", "pwd", "grp", "termios"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("gdm/**/*.py")), ids=lambda path: path.stem)
def test_no_module_asks_for_unix_when_it_is_imported(path):
    tree = ast.parse(path.read_text())
    at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in at_import for alias in node.names}
    modules = {getattr(node, "module", None) for node in at_import}
    assert not OF_UNIX & (names | modules)


def test_a_lock_is_refused_while_it_is_held_and_free_afterwards(tmp_path):
    path = tmp_path / ".lock"
    with locked(path), pytest.raises(UserError, match="is in use"), locked(path):
        pass
    with locked(path):
        pass


def test_a_lock_ends_with_a_process_that_is_killed(tmp_path):
    path = tmp_path / ".lock"
    imports = "from pathlib import Path\nfrom gdm.files import locked"
    hold = f"with locked(Path({str(path)!r})): print('held', flush=True); input()"
    words = [sys.executable, "-c", f"{imports}\n{hold}"]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="is in use"), locked(path):
            pass
        process.kill()
        process.wait()
        with locked(path):
            pass


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    path = tmp_path / ".lock"
    path.symlink_to(precious)
    with pytest.raises(UserError, match="is a link"), locked(path):
        pass
    assert precious.read_text() == "years of work"


def test_a_lock_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match="cannot be locked"), locked(tmp_path / ".lock"):
        pass
