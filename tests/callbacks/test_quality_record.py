"""The measurements of a run outlive its interruptions, once each."""

from gan_gradflow.callbacks.quality_record import QualityPoint, QualityRecord


def point(iteration: int, distance: float) -> QualityPoint:
    return QualityPoint(iteration, 8 * iteration, 0.5, 0.25, {"distance": distance})


def test_what_is_appended_is_read(tmp_path) -> None:
    record = QualityRecord(tmp_path / "quality.jsonl")
    assert record.read() == []
    points = [point(2, 3.0), point(4, 1.0)]
    for each in points:
        record.append(each)
    assert record.read() == points


def test_a_run_that_goes_on_repeats_nothing(tmp_path) -> None:
    record = QualityRecord(tmp_path / "quality.jsonl")
    for iteration in (2, 4, 6):
        record.append(point(iteration, 3.0))
    record.begin(4)
    record.append(point(6, 1.0))
    assert record.read() == [point(2, 3.0), point(4, 3.0), point(6, 1.0)]


def test_a_line_cut_off_in_the_writing_is_left_out(tmp_path) -> None:
    record = QualityRecord(tmp_path / "quality.jsonl")
    for iteration in (2, 4):
        record.append(point(iteration, 3.0))
    record.path.write_text(record.path.read_text()[:-9])
    assert record.read() == [point(2, 3.0)]
    record.begin(2)
    record.append(point(4, 3.0))
    assert record.read() == [point(2, 3.0), point(4, 3.0)]
