"""Hub records as text, so that a test can put exactly the bytes it means where it means them."""

import json
from collections.abc import Callable

BALANCES = "account.balances.snapshot"
PAIRS = "execution.pairs"
CLIENT_ID = "7e57ab1e-0e5e-4e1e-9e99-0123456789ab"
USER_ID = "1e0f2e3d-4c5e-4a6e-8e7f-0123456789ab"

Form = Callable[..., bytes]
"""`in_string` or `as_value`."""


def asset(name: str = '"BTC"', available: str = "0.5", allocated: str = "0", more: str = "") -> str:
    """One asset; every argument is JSON text, `more` starts with a comma."""
    return f'{{"name":{name},"available":{available},"allocated":{allocated}{more}}}'


def account(
    *assets: str, sequence: str = "123", user_id: str = f'"{USER_ID}"', more: str = ',"deleted":false'
) -> str:
    """A balance payload; every argument is JSON text."""
    return f'{{"userId":{user_id},"sequence":{sequence},"assets":[{",".join(assets)}]{more}}}'


def pair(name: str = '"BTCUSDT"', sizes: str = '"minSize":0.0001,"maxSize":5', more: str = "") -> str:
    return f'{{"name":{name},"asset":"BTC","currency":"USDT",{sizes}{more}}}'


def listing(*pairs: str) -> str:
    return f"[{','.join(pairs)}]"


def envelope(data: str, subject: str = f'"{BALANCES}"', client: str = f',"clientId":"{CLIENT_ID}"') -> str:
    """An envelope; `data` and `subject` are JSON text, `client` starts with a comma."""
    head = '"channel":"executionEvents","topic":"Account"'
    return f'{{{head},"subject":{subject},"type":"message"{client},"data":{data}}}'


def record(*arguments: str) -> bytes:
    """An invocation with these arguments, each JSON text."""
    return f'{{"type":1,"target":"executionEvents","arguments":[{",".join(arguments)}]}}'.encode()


def returned(value: str, *, kind: int = 3, invocation_id: str = f'"{CLIENT_ID}"') -> bytes:
    """A Completion (3) with this result, or a StreamItem (2) with this item."""
    member = {2: "item", 3: "result"}[kind]
    return f'{{"type":{kind},"invocationId":{invocation_id},"{member}":{value}}}'.encode()


def quoted(text: str) -> str:
    """`text` as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def in_string(data: str, subject: str = BALANCES) -> bytes:
    """A record whose envelope holds `data` as a string, the form of the vendor's guide."""
    return record(envelope(quoted(data), quoted(subject)))


def as_value(data: str, subject: str = BALANCES) -> bytes:
    """A record whose envelope holds `data` as a value, the form of the vendor's reference pages."""
    return record(envelope(data, quoted(subject)))
