"""The plot of a run, on disk and in TensorBoard."""

import sys

import numpy
import pytest
import tiny
from matplotlib.image import imread
from transformers import TrainerState, TrainingArguments

from textvae.training.curves import Curves, draw_curves

OF_LATENT = ["nats per sentence", "nats", "KL weight", "active units"]


@pytest.fixture(scope="module", autouse=True)
def blank_curves():
    """Override the fixture that turns plots off, because these tests draw them."""


def training(step, **changed):
    return {
        "step": step,
        "loss": 90.0 - step,
        "kl": 4.0,
        "kl_weight": step / 10,
        "learning_rate": 1.0,
    } | changed


def evaluation(step, **changed):
    return {
        "step": step,
        "eval_neg_elbo": 99.0 - step,
        "eval_kl": 5.0,
        "eval_mutual_information": 4.0,
        "eval_active_units": 2,
        "eval_latent_size": 3,
        "eval_reconstruction": 94.0 - step,
    } | changed


def panels(history):
    return [axes.get_ylabel() for axes in draw_curves(history).axes if axes.get_ylabel() != "KL, nats"]


def drawn(figure, label):
    """The points of the curve with this label in the legend."""
    (line,) = [line for axes in figure.axes for line in axes.lines if line.get_label() == label]
    return line.get_xydata().tolist()


def saved(folder, *history, first=True):
    """The files that the callback writes to the folder after an evaluation."""
    state = TrainerState(log_history=list(history), global_step=2)
    state.is_world_process_zero = first
    Curves().on_evaluate(TrainingArguments(output_dir=str(folder), use_cpu=True), state, None)
    return sorted(path.name for path in folder.iterdir())


def test_only_the_panels_for_which_there_is_data():
    spectrum = {f"eval_kl_of_dimension_{index}": float(index) for index in range(3)}
    assert panels([training(1), evaluation(2)]) == OF_LATENT
    assert panels([training(1), evaluation(2, **spectrum)]) == [*OF_LATENT, "dimension\nby rank of KL"]
    assert panels([training(1)]) == OF_LATENT[:3]
    assert panels([evaluation(0)]) == ["nats per sentence", "nats", "active units"]
    assert panels([]) == []


def test_a_language_model_has_no_panels_of_z():
    nothing = {"eval_kl": 0.0, "eval_mutual_information": 0.0, "eval_active_units": 0, "eval_latent_size": 0}
    history = [training(1, kl=0.0), evaluation(2, **nothing)]
    assert panels(history) == ["nats per sentence"]
    assert drawn(draw_curves(history), "validation NLL") == [[2, 97.0]]


def test_the_curves_are_the_logged_numbers_where_they_are_finite():
    history = [training(1), evaluation(1), training(2, loss=float("inf")), evaluation(2)]
    figure = draw_curves(history)
    assert drawn(figure, "training loss") == [[1, 89.0]]
    assert drawn(figure, r"validation $-$ELBO") == [[1, 98.0], [2, 97.0]]
    assert drawn(figure, "validation MI") == [[1, 4.0], [2, 4.0]]


def test_each_evaluation_has_a_column_with_the_largest_kl_on_top():
    first = {"eval_kl_of_dimension_0": 0.1, "eval_kl_of_dimension_1": 3.0, "eval_kl_of_dimension_2": 1.0}
    second = {"eval_kl_of_dimension_0": 2.0, "eval_kl_of_dimension_1": 0.0, "eval_kl_of_dimension_2": 4.0}
    summary = {"step": 20, "train_runtime": 3.0}
    axes = draw_curves([evaluation(10, **first), evaluation(20, **second), summary]).axes[3]
    (mesh,) = axes.collections
    assert numpy.array(mesh.get_array()).tolist() == [[3.0, 4.0], [1.0, 2.0], [0.1, 0.0]]
    assert axes.yaxis_inverted()


@pytest.mark.parametrize("steps", [(0,), (7,), (7, 8), range(0, 100, 2)])
def test_a_history_of_any_length_is_drawn(steps, tmp_path):
    history = [evaluation(step, eval_kl_of_dimension_0=0.0, eval_kl_of_dimension_1=0.0) for step in steps]
    assert saved(tmp_path, *history) == ["curves.png"]


def test_the_picture_is_wide_enough_to_read_and_not_empty(tmp_path):
    assert saved(tmp_path, training(1), evaluation(2)) == ["curves.png"]
    pixels = imread(tmp_path / "curves.png")
    assert pixels.shape[1] == 1050
    assert 0.5 < pixels.mean() < 0.99


def test_only_the_first_process_draws_and_only_what_there_is(tmp_path):
    assert saved(tmp_path, training(1), evaluation(2), first=False) == []
    assert saved(tmp_path) == []


@pytest.mark.slow
def test_a_picture_that_cannot_be_written_leaves_the_last_one_and_training_goes_on(
    tmp_path, monkeypatch, capsys
):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def fill_disk(canvas, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    saved(tmp_path, training(1), evaluation(2))
    before = (tmp_path / "curves.png").read_bytes()
    monkeypatch.setattr(FigureCanvasAgg, "print_png", fill_disk)
    trainer = tiny.trainer(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1)
    trainer.add_callback(Curves())
    trainer.train()
    assert trainer.state.global_step == 2
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    assert (tmp_path / "curves.png").read_bytes() == before
    error = capsys.readouterr().err
    assert error.count("No space left on device") == error.count("curves.png could not be written") == 1


def test_without_matplotlib_a_line_says_once_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    trainer = tiny.trainer(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1)
    trainer.add_callback(Curves())
    trainer.train()
    assert not (tmp_path / "curves.png").exists()
    assert capsys.readouterr().err.count("pip install 'textvae[plots]'") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("share", "skipped"), [(1.0, []), (1e-9, [[1, 2]])])
def test_training_draws_after_evaluations_if_there_is_time_and_at_the_end(
    tmp_path, monkeypatch, share, skipped
):
    from textvae.training import curves

    histories = []

    def remember(history):
        histories.append([dict(entry) for entry in history])
        return draw_curves(history)

    monkeypatch.setattr(curves, "draw_curves", remember)
    monkeypatch.setattr(curves, "SHARE", share)
    trainer = tiny.trainer(tmp_path, max_steps=3, eval_strategy="steps", eval_steps=1)
    trainer.add_callback(Curves())
    trainer.train()
    evaluated = [[entry["step"] for entry in history if "eval_neg_elbo" in entry] for history in histories]
    assert evaluated == [steps for steps in [[1], [1, 2], [1, 2, 3], [1, 2, 3]] if steps not in skipped]
    assert imread(tmp_path / "curves.png").shape[1] == 1050
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.slow
def test_tensorboard_shows_the_picture_beside_the_scalars(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = tiny.trainer(
        tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1, report_to="tensorboard"
    )
    trainer.add_callback(Curves(trainer.callback_handler.callbacks))
    trainer.train()
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    accumulator = accumulators.EventAccumulator(str(events))
    accumulator.Reload()
    images = accumulator.Images("curves")
    assert [(image.step, image.width) for image in images] == [(1, 1050), (2, 1050)]
    assert images[0].encoded_image_string.startswith(b"\x89PNG")
    assert [scalar.step for scalar in accumulator.Scalars("eval/neg_elbo")] == [1, 2]
