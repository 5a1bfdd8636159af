"""Codes can't be misread: each wrong letter and each swap is found before anybody is asked."""

import itertools

import pytest

from services.redeem.domain.codes import ALPHABET, LETTERS, CodeMalformed, code_hash, new_code, read_code


def test_a_code_is_of_letters_that_look_like_no_other_and_is_read_however_it_is_written() -> None:
    assert not set("01258BILOSUVZ") & set(ALPHABET)
    codes = [new_code() for _ in range(200)]
    assert len(set(codes)) == 200
    for code in codes:
        assert (len(code), set(code) <= set(ALPHABET)) == (LETTERS, True)
        assert read_code(code) == code
    typed = f" {code[:4]}-{code[4:8]} {code[8:]}".lower()
    assert read_code(typed) == code


def test_each_wrong_letter_and_each_swap_of_two_is_found() -> None:
    code = new_code()
    wrong = {
        code[:place] + letter + code[place + 1 :]
        for place in range(LETTERS)
        for letter in ALPHABET
        if letter != code[place]
    }
    for one, other in itertools.combinations(range(LETTERS), 2):
        if code[one] != code[other]:
            letters = list(code)
            letters[one], letters[other] = letters[other], letters[one]
            wrong.add("".join(letters))
    assert len(wrong) > 22 * LETTERS
    for misread in wrong:
        with pytest.raises(CodeMalformed):
            read_code(misread)
    for text in ("", code[:-1], code + "A", "O" + code[1:], "é" * 16):
        with pytest.raises(CodeMalformed):
            read_code(text)


def test_what_is_kept_of_a_code_needs_the_tenants_key() -> None:
    code = new_code()
    assert code_hash(b"one", code) == code_hash(b"one", code) != code_hash(b"other", code)
    assert len(code_hash(b"one", code)) == 32
