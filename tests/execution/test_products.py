"""The list of products says what all rooms need of them."""

from miostitch.execution.products import EDITED, LINE_TABLES, OF_ROWS, PRODUCTS, STITCHED


def test_the_summary_comes_last() -> None:
    assert EDITED[-1] == STITCHED[-1] == ".json"
    assert len({*EDITED}) == len(EDITED) == len(PRODUCTS)


def test_tables_of_frames_are_known_by_their_column() -> None:
    assert LINE_TABLES == {
        "_timestamps.csv": "frame",
        "_scores.csv": "index",
        "_noise.csv": "reconstructed_frame_index",
    }
    assert OF_ROWS == ("_timestamps.csv", "_scores.csv")
    assert {*EDITED} - {*STITCHED} == {"_noise.csv"}
