"""A benefit is told with its reward's name: a name that no event can hold is refused before anybody buys it."""

from __future__ import annotations

from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.test_rewards import put
from tests.support.http import assert_problem


def name_of(size: int) -> dict[str, str]:
    """A name that comes to about so many bytes, by a locale that is so long."""
    return {"en": "Huge", "en" + "-aaaaaaaa" * (size // 9 - 3): "x"}


async def test_a_reward_whose_name_no_event_can_tell_is_refused_and_the_one_before_stands(bank: Bank) -> None:
    assert (await put(bank, "huge")).status_code == 201
    for size in ((1 << 20) - 400, (128 << 10) + 60):
        refused = await put(bank, "huge", name=name_of(size))
        assert_problem(refused, 422, "field_type")
        assert [one["pointer"] for one in refused.json()["errors"]] == ["/name"]
    seen = await bank.client.get(
        "/v1/rewards/huge", params={"programme": "shops"}, headers=bank.headers("till")
    )
    assert (seen.json()["version"], seen.json()["name"]) == (1, {"en": "A coffee", "ar": "قهوة"})
    most = {f"{a}{b}": "\u0001" * 200 for a in "abcdefghij" for b in "abcdefghij"}
    assert (
        await put(bank, "huge", name=most)
    ).status_code == 200  # all languages, each as long as a text may be
    member = await bank.member(100)
    bought = await bank.redeem(asks(member, reward="huge"))
    assert (bought.status_code, bought.json()["benefit"]["name"]) == (201, most)
