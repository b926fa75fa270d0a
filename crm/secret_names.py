"""Which parameters hold a secret, told by their names: one home for all who hide one, or complain that it is written in plain."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SECRETS = frozenset(
    re.findall(
        r"\w+",
        "pass passwd password passwords passphrase passcode pwd pw secret secrets token tokens cookie community psk hmac "
        "apikey authkey accesskey secretkey privatekey sharedkey masterkey",
    )
)
# How a word ends that people write together: bindpw, monpassword, adminpass.
_ENDS = ("password", "passwd", "passphrase", "secret", "token", "apikey", "pw", "pass", "cookie")
_INNOCENT = frozenset({"bypass", "compass", "surpass", "trespass"})
_KEYS = frozenset({"key", "keys"})
# A key that everybody may know, or that is none.
_OPEN = frozenset({"public", "pub", "host", "known", "primary", "foreign", "sort", "partition", "routing"})
# A name that ends so speaks of a secret, or of where it is: password_script, key_file, token_timeout.
_ABOUT = frozenset(
    re.findall(
        r"\w+",
        "script file files path dir directory name id ttl timeout interval coefficient warning policy type size length "
        "format algorithm enabled enable expiry lifetime age count rotation prefix validation check checks digits letters reuse",
    )
)
# Corosync's timer, which is called token.
_TIMER = frozenset({"retransmit", "retransmits"})
_REFERENCE = re.compile(r"(file|path|script)$")
# A value that is the name of a file, in whatever directory its reader looks. A password may well begin with one slash. lrm:// is what
# cibsecret leaves in the CIB: Pacemaker itself reads the value from a file of root's then.
_FILE = re.compile(r"(file:|/[^/]+/)|lrm://$|[^\s:]{1,100}\.(pem|key|crt|cert|pub|p12|jks)$")
_NO_SECRET = frozenset({"", "true", "false", "yes", "no", "on", "off", "none"})
# A setting among others in one value: username=u,password=…; --wsrep-sst-auth=USER:…; --password ….
_SETTING = re.compile(
    r"(?:^|(?<=[\s,;&?\"'{(]))(?:([A-Za-z_-][\w.-]{0,63})(?:[\"']? {0,3}= {0,3}|[\"'] {0,3}: {0,3})|(--?[A-Za-z][\w-]{0,63})\s(?=[^\s-]))"
)
# Where it ends: passwords have commas and spaces in them, so only where the next setting begins.
_NEXT = re.compile(r"[\s,;&](?:-{0,2}[A-Za-z_][\w.-]{0,63}[\"']? {0,3}[=:]|--?[A-Za-z])")
_PAIR = re.compile(r"[^\s:/]+:[^\s/]")
# An address that whoever knows it may write to: the path is the secret.
_WEBHOOK = re.compile(
    r"https?://(hooks\.slack\.com/services/|discord(app)?\.com/api/webhooks/|[\w.-]{1,200}\.webhook\.office\.com/|"
    r"outlook\.office(365)?\.com/webhook/|api\.telegram\.org/bot|\S{1,200}/hooks?/)\S",
    re.IGNORECASE,
)
_MOST = 65536
_USERINFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/@]{0,256}:[^\s/@][^\s@]{0,256}@")


def names_secret(parameter: str) -> bool:
    """Whether the value of a parameter of this name is a secret, not a file or a program that tells it.

    Any spelling: ``db_password``, ``adminPass``, ``snmp-priv-passwd``, ``community``. Not ``password_script``, ``host_key`` or
    ``token_coefficient``; nor ``credentials``, which is a file with them wherever an agent has it.
    """
    words = [word.lower() for word in _WORD.findall(parameter[:256])]
    if not words or words[-1] in _ABOUT or _REFERENCE.search(words[-1]):
        return False
    if ("pass" in words and "through" in words) or _TIMER.intersection(words):
        return False
    if any(word in _KEYS for word in words) and not _OPEN.intersection(words):
        return True
    return any(word in _SECRETS or (word.endswith(_ENDS) and word not in _INNOCENT) for word in words)


def is_inline(parameter: str, value: str | None) -> bool:
    """Whether ``value`` gives a secret away: the name says that it is one, and it is no reference to a file and no mere word; or it has
    one inside, in a URL or as a setting of its own (``username=u,password=…``).
    """
    if value is None:
        return False
    return is_whole(parameter, value) or has_password(value) or next(_inner(parameter, value), None) is not None


def is_whole(parameter: str, value: str) -> bool:
    """Whether all of ``value`` is the secret, not a part of it."""
    if _is_auth(parameter):
        return _PAIR.match(value) is not None
    return names_secret(parameter) and not _is_plain(value)


def has_password(value: str) -> bool:
    """Whether a URL in ``value`` is a secret: ``amqp://user:password@host/``, or an address for messages of a chat."""
    return _USERINFO.search(value[:_MOST]) is not None or _WEBHOOK.search(value[:_MOST]) is not None


def masked(parameter: str, value: str, hidden: str) -> str:
    """``value`` for everybody's eyes: ``hidden`` stands for what is secret in it, or for all of it."""
    if is_whole(parameter, value) or has_password(value) or len(value) > _MOST:
        return hidden
    shown, done = "", 0
    for begin, end in _inner(parameter, value):
        shown += value[done:begin] + hidden
        done = end
    return shown + value[done:]


def _inner(parameter: str, value: str) -> Iterator[tuple[int, int]]:
    """Where secrets stand among the settings in a value."""
    if parameter.startswith("pcmk_"):
        return  # names of nodes: web=1
    text, done = value[:_MOST], 0
    for found in _SETTING.finditer(text):
        name = (found[1] or found[2]).lstrip("-")
        if found.start() < done or not (names_secret(name) or _is_auth(name)):
            continue
        after = _NEXT.search(text, found.end())
        end = after.start() if after else len(text)
        said = text[found.end() : end].strip(" \"'")
        counts = said.isdecimal() and re.search(r"pass\w{0,5}\d*$|pw\d*$", name.lower()) is None
        if _is_plain(said) or counts or (_is_auth(name) and not _PAIR.match(said)):
            continue
        yield found.end(), end
        done = end


def _is_auth(name: str) -> bool:
    """Whether a user with the password may stand there: wsrep_sst_auth; a method does not have the form."""
    return re.search(r"(^|[^a-z])auth$", name[-256:].lower()) is not None


def _is_plain(value: str) -> bool:
    return value.lower() in _NO_SECRET or _FILE.match(value) is not None
