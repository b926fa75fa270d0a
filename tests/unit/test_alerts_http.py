"""Alerts to web servers of every kind, real ones: what reaches them, what they may answer, and what never leaves."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import alert_nodes
import pytest
from alert_nodes import RESOURCE, Web, bodies, until
from hafailover.hooks.alerts import to_http
from hafailover.hooks.alerts.config import Recipient
from hafailover.hooks.alerts.sending import Failed


@pytest.fixture
def web():
    with alert_nodes.serving() as made:
        yield made


@pytest.fixture
def cluster(tmp_path):
    return alert_nodes.cluster_of_two(tmp_path)


@pytest.fixture
def nodes(cluster, web):
    with alert_nodes.two(cluster, web) as made:
        yield made


def test_hostile_texts_reach_the_body_alone(nodes, web, cluster):
    nasty = 'x"},{"a":"${IFS}`id`$(id)\r\nX-Evil: 1\0{token}{cluster}\u202e\x1b[2J' + "z" * 50_000
    template = {"text": "{summary} by {reporter}", "list": ["{description}", 7]}
    nodes[0].configure({"hook": web.recipient(template=template, token="s3cret", headers={"X-Team": "db"})})
    given = {**RESOURCE, "rc": "1", "desc": nasty.replace("\0", ""), "node": "../../etc"}
    nodes[0].alert(**given)
    nodes[0].run()
    ((body, headers),) = web.got
    assert set(body) == {"text", "list"}
    assert body["text"].startswith(
        'start of db on ../../etc failed (code 1): x"},{"a":"${IFS}`id`$(id) X-Evil: 1{token}{cluster}'
    )
    assert body["text"].isprintable()
    assert len(body["text"]) < 4500
    assert body["list"][1] == 7
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["x-team"] == "db"
    assert "x-evil" not in headers
    assert sorted(path.name for path in cluster.directory.parent.iterdir()) == ["c"]


def test_redirects_are_not_followed(nodes, web):
    other = Web()
    web.status, web.headers = 307, {"Location": other.url}
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].start()
    state = until("it has failed", lambda: nodes[0].state("hook").get("attempts") and nodes[0].state("hook"))
    assert "redirect" in state["error"]
    assert not other.tried
    assert nodes[0].waiting("hook") == 1


def test_an_event_that_is_refused_does_not_stop_the_others(nodes, web):
    web.status = 422
    nodes[0].alert(sequence=1, node="db1", **RESOURCE)
    nodes[0].start()
    until("it is given up", lambda: nodes[0].state("hook").get("refused") == 1)
    web.status = 200
    nodes[0].alert(sequence=2, node="db1", **RESOURCE)
    nodes[0].run()
    (body,) = bodies(web)
    assert body["dropped"] == 1


@pytest.mark.parametrize("status", [404, 405, 415, 503])
def test_what_is_wrong_with_the_address_loses_no_event(nodes, web, status):
    # A page that tells of maintenance answers a POST with 405.
    web.status = status
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].start()
    for _ in range(5):
        tried = web.tried
        (nodes[0].root / "retry").touch()
        until("it is tried again", lambda tried=tried: web.tried > tried)
    web.status = 200
    (nodes[0].root / "retry").touch()
    nodes[0].run()
    assert [body["dropped"] for body in bodies(web)] == [0]


def test_a_name_server_that_takes_its_time_leaves_the_watch_over_what_follows(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as slow:
        real = socket.create_connection

        def late(*given, **more):
            time.sleep(1.2)  # longer than two timeouts
            return real(*given, **more)

        monkeypatch.setattr(socket, "create_connection", late)

        def trickle():
            connection, _ = slow.accept()
            with connection:
                for _ in range(100):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return
                    time.sleep(0.2)

        threading.Thread(target=trickle, daemon=True).start()
        options = {"url": f"http://127.0.0.1:{slow.getsockname()[1]}/"}
        sender = to_http.sender(Recipient("hook", "webhook", frozenset(), 1, 1.0, 0.5, options))
        began = time.monotonic()
        with pytest.raises(Failed):
            sender.send({"id": "1"})
        assert time.monotonic() - began < 6
        sender.close()


def test_certificates_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "empty").touch()
    for name, why in (("missing", "No such file"), ("empty", "no certificate is in it")):
        options = {"url": "https://127.0.0.1:1/", "ca": str(tmp_path / name)}
        with pytest.raises(Failed) as caught:
            to_http.sender(Recipient("hook", "webhook", frozenset(), 1, 1.0, 0.5, options)).send({"id": "1"})
        assert f"the certificates in {tmp_path / name} cannot be read: {why}" in str(caught.value)


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_the_queue(nodes, web):
    with socket.create_server(("127.0.0.1", 0)) as slow:
        nodes[0].configure({"hook": web.recipient(url=f"http://127.0.0.1:{slow.getsockname()[1]}/", timeout=1)})
        nodes[0].alert(node="db1", **RESOURCE)
        nodes[0].start()
        connection, _ = slow.accept()
        began = time.monotonic()
        with connection:
            while time.monotonic() - began < 10:
                try:
                    connection.sendall(b"H")
                except OSError:
                    break
                if nodes[0].state("hook").get("attempts"):
                    break
                time.sleep(0.3)
        assert time.monotonic() - began < 6


def test_chat(nodes, web):
    nodes[0].configure(
        {
            "slack": web.recipient(type="slack", channel="#db"),
            "mattermost": web.recipient(type="mattermost", template="{summary}"),
        }
    )
    nodes[0].alert(**{**RESOURCE, "rc": "1", "node": "db1", "desc": "<!channel> @all [x](http://evil) & more"})
    nodes[0].run()
    texts = {body.get("channel", ""): body["text"] for body in bodies(web)}
    assert "&lt;!channel&gt;" in texts["#db"]
    assert "<" not in texts["#db"]
    assert "@all" not in texts[""]
    assert "](" not in texts[""]


def test_a_chat_gets_no_more_than_it_takes(nodes, web):
    nodes[0].configure({"hook": web.recipient(type="mattermost", template="{description} " * 9)})
    nodes[0].alert(**{**RESOURCE, "rc": "1", "node": "db1", "desc": "<" * 2000})
    nodes[0].run()
    ((body, _),) = web.got
    assert len(body["text"]) == 12_000 and body["text"].endswith("…")


def test_stackstorm(nodes, web):
    nodes[0].configure({"st2": web.recipient(type="stackstorm", token="key")})
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].run()
    ((body, headers),) = web.got
    assert headers["st2-api-key"] == "key"
    assert "authorization" not in headers
    assert headers["st2-trace-tag"] == body["id"]


def test_secrets_are_on_no_command_line_and_in_no_state(nodes, web):
    web.status = 401
    nodes[0].configure({"hook": web.recipient(token="s3cret", url=web.url + "/t0ps3cret")})
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].start()
    until("it has failed", lambda: nodes[0].state("hook").get("attempts"))
    line = Path(f"/proc/{nodes[0].service.pid}/cmdline").read_bytes()
    told = json.dumps(nodes[0].state("hook"))
    assert b"s3cret" not in line
    assert "s3cret" not in told


def test_a_server_that_repeats_what_it_was_sent_puts_no_secret_into_log_or_state(nodes, web, tmp_path):
    web.status, web.echo = 401, True
    node = nodes[0]
    node.configure({"hook": web.recipient(token="s3cret-token", url=f"{web.url}/T0PSECRET?key=qu3rysecret")})
    node.alert(node="db1", **RESOURCE)
    log = (tmp_path / "log").open("w+")
    node.service = subprocess.Popen([str(node.root / "alerts-deliver")], env=node.environment, stderr=log)
    state = until("it has failed", lambda: node.state("hook").get("attempts") and node.state("hook"))
    assert "answers 401: no: Bearer ***, ***" in state["error"]
    assert "ecret" not in (tmp_path / "log").read_text() + json.dumps(state).replace("hafailover", "")
    # Nor does what no header can hold.
    node.configure({"hook": web.recipient(token="s3cret\nX: y")})
    state = until("another reason", lambda: "ValueError" in node.state("hook")["error"] and node.state("hook"))
    assert "ecret" not in (tmp_path / "log").read_text() + json.dumps(state)


def test_who_cannot_prove_who_he_is_is_not_told(nodes, web, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
    url = web.url.replace("http:", "https:")
    node = nodes[0]
    node.configure({"hook": web.recipient(url=url, token="s3cret")})
    node.alert(node="db1", **RESOURCE)
    node.start()
    state = until("it has failed", lambda: node.state("hook").get("attempts") and node.state("hook"))
    assert "certificate of 127.0.0.1 cannot be verified" in state["error"]
    assert web.tried == 0
    # A name that the certificate does not have.
    node.configure({"hook": web.recipient(url=url.replace("127.0.0.1", "localhost"), ca=str(certificate))})
    until("it has failed again", lambda: "localhost" in node.state("hook")["error"])
    assert web.tried == 0
    node.configure({"hook": web.recipient(url=url, token="s3cret", ca=str(certificate))})
    node.run()
    assert len(web.got) == 1


@pytest.mark.parametrize(
    ("asked", "low", "high"), [("30", 25, 30), ("99999999", 290, 300), ("-5", 0, 2), ("Sat, 1 Jan", 0, 2)]
)
def test_the_other_side_may_ask_for_a_pause_but_not_for_ever(nodes, web, asked, low, high):
    web.status, web.headers = 429, {"Retry-After": asked}
    nodes[0].alert(node="db1", **RESOURCE)
    nodes[0].start()
    state = until("it has failed", lambda: nodes[0].state("hook").get("attempts") and nodes[0].state("hook"))
    assert low <= state["next_try"] - time.time() <= high or low == 0
