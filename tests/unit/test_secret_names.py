"""Which parameters hold a secret."""

from __future__ import annotations

import re

import pytest
from hafailover.crm.secret_names import has_password, is_inline, masked, names_secret
from hypothesis import given
from hypothesis import strategies as st

SECRET = re.findall(
    r"[\w-]+",
    "password passwd pass secret token community cookie key db_password adminPass APIKey api_key snmp_priv_passwd snmp-priv-passwd "
    "session_key private_key erlang_cookie requiredSecret replication_passwd bindpw monpassword access_key aws_secret_access_key PASSWORD",
)
OPEN = re.findall(
    r"[\w-]+",
    "password_script passwd_script key_file keyfile identity_file public_key host_key ssh_host_key known_hosts credentials token_timeout "
    "token_coefficient token_retransmits_before_loss_const access_key_id username login ip monkey keystone bypass config auth nodes "
    "password_policy pass_through path secrets_dir pcmk_host_list compass keymap turnkey lanplus "
    "simple_password_check_digits key_buffer_size pin",
)


@pytest.mark.parametrize("name", SECRET)
def test_a_secret(name):
    assert names_secret(name)


@pytest.mark.parametrize("name", [*OPEN, ""])
def test_no_secret(name):
    assert not names_secret(name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("password", "hunter2", True),
        ("password", "file:ipmi", False),
        ("password", "/etc/hafailover/ipmi", False),
        ("password", "", False),
        ("password", None, False),
        ("secret", "none", False),
        ("ssl_key", "server-key.pem", False),
        ("api_key", "abc.def.ghi", True),
        ("cookie", "a b.pem", True),
        ("username", "root", False),
        ("url", "amqp://st2:hunter2@mq/", True),
        ("url", "amqp://st2@mq/", False),
        ("uri", "mongodb://m1:27017,m2:27017/", False),
        ("password_script", "/etc/x", False),
        ("password", "/Xk29abcdEfG=", True),
        ("options", "username=u,password=Geheim1", True),
        ("options", "rw,credentials=/etc/cifs/c", False),
        ("options", "rw,password=/etc/cifs/c", False),
        ("primary_conninfo_opt", "password=Geheim7", True),
        ("args", "--verbose --password Geheim", True),
        ("args", "--wsrep-sst-auth=sst:Geheim2", True),
        ("args", "--default-auth=mysql_native_password --key-buffer-size=16M", False),
        ("definition", '{"password": "Geheim"}', True),
        ("wsrep_sst_auth", "sst:Geheim2", True),
        ("auth", "md5", False),
        ("pcmk_host_map", "secret=web", False),
        ("url", "https://hooks.slack.com/services/T0/B0/Geheim3", True),
        ("url", "https://www.example.org/status", False),
    ],
)
def test_what_is_given_away(name, value, expected):
    assert is_inline(name, value) is expected


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_name_and_value_have_an_answer(name, value):
    assert names_secret(name) in (True, False)
    assert is_inline(name, value) in (True, False)
    assert has_password(f"x://u:{'a' * 40}@h") is True


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("username=u,password=a,b c,vers=3", "username=u,password=*,vers=3"),
        ("--x=y --wsrep-sst-auth=sst:Geheim --z", "--x=y --wsrep-sst-auth=* --z"),
        ("password = 'a b' host=h", "password = * host=h"),
        ("rw,noatime", "rw,noatime"),
        ("amqp://u:p@h/", "*"),
    ],
)
def test_only_the_secret_in_a_value_is_hidden(value, shown):
    assert masked("options", value, "*") == shown


@given(
    st.sampled_from(["password", "db_passwd", "--admin-password", "secret"]),
    st.text(alphabet="abXY19,/ ", min_size=1, max_size=20),
)
def test_a_word_after_its_name_is_never_shown(name, word):
    text = f"user=me,{name}=Z{word}Z,rw=1"
    assert f"Z{word}Z" not in masked("options", text, "*")
