"""The country of an ip: look-ups against a search through all ranges, and refusals that name line and remedy."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import countries
from producers.countries import BadTable, Countries

HEADER = "lower_bound_ip_address,upper_bound_ip_address,country"
PUBLIC_TABLE = Path(__file__).parents[3] / "shared" / "data" / "ip_to_country.csv"
TOP = 2**32 - 1


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[int, int, str]]:
    """Ranges that rise and do not overlap, some side by side, some of one address."""
    bounds = sorted(draw(st.sets(st.integers(0, 50) | st.integers(0, TOP), max_size=24)))
    pairs = zip(bounds[::2], bounds[1::2], strict=False)
    return [(first, last - draw(st.integers(0, 1)), draw(st.sampled_from("XYZ"))) for first, last in pairs]


@given(tables(), st.lists(st.integers(0, 60) | st.integers(0, TOP), max_size=20))
def test_a_look_up_gives_what_a_search_through_all_ranges_gives(
    table: list[tuple[int, int, str]], asked: list[int]
) -> None:
    found = Countries(table)
    edges = [edge + by for first, last, _ in table for edge in (first, last) for by in (-1, 0, 1)]
    for number in [*asked, *(edge for edge in edges if 0 <= edge <= TOP)]:
        named = [country for first, last, country in table if first <= number <= last]
        assert found(str(IPv4Address(number))) == (named[0] if named else None)
    assert len(found) == len(table)
    assert found("no ip") is None


def written(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_table_is_read_with_integers_dots_floats_quotes_and_further_columns(tmp_path: Path) -> None:
    table = written(
        tmp_path / "t.csv",
        '16777216.0,16777471,x,"Korea, Republic of"',
        "",
        "1.0.1.0,1.0.1.255,y,China",
        header="\ufeffLOWER_BOUND_ip_address,upper_bound_ip_address,note,country",
    )
    found = countries.read(table)
    assert (found("1.0.0.0"), found("1.0.0.255"), found("1.0.1.0"), found("1.0.2.0")) == (
        "Korea, Republic of",
        "Korea, Republic of",
        "China",
        None,
    )
    assert found.names == {"Korea, Republic of", "China"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,2,Peru", "lower_bound_ip_address 'a' is not a number"),
        ("1,4294967296,Peru", "upper_bound_ip_address '4294967296' is not an IPv4 address"),
        ("1.02E+09,1024032767,Peru", "lower_bound_ip_address '1.02E+09' is a rounded number"),
        ("11,,Peru", "upper_bound_ip_address is empty"),
        ("11,12,", "country is empty"),
        ("11,12,X", "country 'X' is no country"),
        ("14,13,Peru", "the range ends at 13, before it begins at 14"),
        ("10,19,Peru", "the range begins at 10, the one before ends at 10: lines must be sorted"),
        ("1,2,Peru", "the range begins at 1, the one before ends at 10: lines must be sorted"),
        ("3", "it has 1 columns, the header 3"),
    ],
)
def test_a_wrong_line_is_named_and_spoils_no_other(tmp_path: Path, line: str, reason: str) -> None:
    found = countries.read(written(tmp_path / "t.csv", "5,10,Chad", line, "20,30,Mali"))
    (bad,) = found.rejected
    assert bad.line == 3
    assert reason in bad.reason
    assert (len(found), found.names) == (2, {"Chad", "Mali"})
    assert found("0.0.0.25") == "Mali"


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match=r"line 1: the header lacks country; it must name lower_bound_ip_address, "):
        countries.read(written(tmp_path / "t.csv", header="lower_bound_ip_address,upper_bound_ip_address"))
    with pytest.raises(BadTable, match=r"none\.csv: No such file"):
        countries.read(tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(BadTable, match="line 1: the header lacks"):
        countries.read(tmp_path / "empty.csv")
    with pytest.raises(BadTable, match="no line is a range of ip addresses; the first is wrong: line 2: it has 1 col"):
        countries.read(written(tmp_path / "t.csv", "1;2;Peru"))
    with pytest.raises(BadTable, match="unexpected end of data"):
        countries.read(written(tmp_path / "t.csv", '1,2,"Peru'))
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\n1,2,Cura\xe7ao\n".encode("latin-1"))
    with pytest.raises(BadTable, match=r"latin\.csv: .*utf-8"):
        countries.read(tmp_path / "latin.csv")


@pytest.mark.skipif(not PUBLIC_TABLE.exists(), reason=f"the public range table is not at {PUBLIC_TABLE}")
def test_the_public_table_is_read_whole() -> None:
    found = countries.read(PUBLIC_TABLE)
    assert len(found) + len(found.rejected) == 103_895
    assert len(found.rejected) < 10
    assert all("is a rounded number" in row.reason for row in found.rejected)
    assert found("1.0.0.1") == "Australia"
    assert found("1.0.1.0") == "China"
    assert found("255.1.1.1") is None
