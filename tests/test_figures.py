import itertools
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from src.analysis.effects import analyse
from src.analysis.intervals import Interval
from src.analysis.study import load_study
from src.reports import compose
from src.reports.figures import canvas, glyphs, registry, scales, training_error
from src.reports.figures.forest import Bar, forest
from tests import synthetic
from tests.reported import write_pair
from tests.test_report import write_errors

NAMES = ("effects", "learning_rates", "ratios", "training_error")
DRAW = {row.name: row.draw for row in registry.FIGURES}


def draw(study_dir: Path, name: str) -> Figure:
    return DRAW[name](analyse(load_study(study_dir)))


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.texts]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    found += [axes.get_title(loc="left") for axes in figure.axes]
    return "\n".join(found)


def lines(figure: Figure, panel: int, color: str) -> list[np.ndarray]:
    """The points [P, 2] of the lines of that colour in a panel, thick ones alone."""
    drawn = [line for line in figure.axes[panel].lines if line.get_color() == color]
    return [np.array(line.get_xydata()) for line in drawn if line.get_linewidth() >= 1.4]


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(study_dir, tmp_path):
    analysis = analyse(load_study(study_dir))
    for name in ("first", "second"):
        with matplotlib.rc_context({"font.size": 20 if name == "second" else 5}):
            registry.write_figures(tmp_path / name, analysis)
    drawn = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert drawn == sorted(f"{name}.{kind}" for name in NAMES for kind in ("png", "svg"))
    for name in drawn:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_trials_that_stopped_before_their_first_point_have_no_place(tmp_path):
    """On an axis of logarithms there is none for 0."""
    synthetic.write_header(tmp_path, learning_rates=[0.01, 0.02], stop_at_target=False)
    for rate in (0.01, 0.02):
        fields = {"recipe": "modern", "learning_rate": rate, "seed": 0, "purpose": "selection"}
        synthetic.write_trial(tmp_path, [], **fields)
    figure = draw(tmp_path, "learning_rates")
    figure.draw_without_rendering()
    assert not [xy for line in figure.axes[0].lines for xy in line.get_xydata() if xy[1] <= 0]


def test_fig_1_has_every_fresh_seed_and_the_papers_curves_behind(study_dir):
    figure = draw(study_dir, "training_error")
    seeds = [
        line for line in figure.axes[0].lines if line.get_linewidth() == 0.7 and line.get_alpha()
    ]
    assert len(seeds) == 6
    relu, tanh = lines(figure, 0, canvas.GREY)
    np.testing.assert_allclose(relu[-1], [6, 0.2483])
    np.testing.assert_allclose(tanh[-1], [36, 0.2507])
    assert figure.axes[0].lines[0].get_zorder() < seeds[0].get_zorder()
    assert {"conv3, cuda_convnet", "conv3, modern"} <= set(texts(figure).splitlines())


@pytest.mark.parametrize("name", ["training_error", "overfitting"])
@pytest.mark.parametrize("worst", [0.85, 0.99])
def test_the_panel_has_the_highest_error_and_its_legend_covers_no_curve(tmp_path, name, worst):
    """On CIFAR-100 an arm that does not learn stays at 99%."""
    sweep = {"model": {"activation": ["relu", "tanh"]}}
    synthetic.write_header(tmp_path, sweep=sweep, learning_rates=[0.02])
    for activation, fall in (("relu", 0.4), ("tanh", 0.0)):
        metrics = synthetic.make_metrics(lambda e, f=fall: worst - f * e / 3, epochs=3)
        fields = {"recipe": "modern", "activation": activation, "learning_rate": 0.02}
        synthetic.write_trial(tmp_path, metrics, **fields)
    figure = draw(tmp_path, name)
    (axes,) = figure.axes
    highest = np.nanmax(np.concatenate([line.get_ydata() for line in axes.lines]))
    np.testing.assert_allclose(highest, worst if name == "training_error" else worst + 0.03)
    assert axes.get_ylim()[1] > highest
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    assert not axes.get_legend().get_window_extent(renderer).overlaps(axes.bbox)


@pytest.fixture
def one_diverged(tmp_path) -> Path:
    """Three seeds of two epochs an arm; the last of `paper` diverged after half an epoch."""
    write_errors(tmp_path, {"none": [0.30, 0.32, 0.31], "paper": [0.28, 0.301]})
    fields = {"seed": 202, "lrn": "paper", "model": "alexnet_cifar", "status": "diverged"}
    fields |= {"recipe": "modern", "learning_rate": 0.02}
    trial = "alexnet_cifar-modern-relu-lrnpaper-lr0.02-s202"
    rows = synthetic.make_metrics(lambda e: 0.8, epochs=0.5)
    synthetic.write_trial(tmp_path, rows, trial=trial, **fields)
    return tmp_path


def test_an_arm_of_which_a_seed_diverged_has_dots_and_no_bar(one_diverged):
    figure = draw(one_diverged, "final_errors")
    (axes,) = figure.axes
    bars = {round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height() for bar in axes.patches}
    assert set(bars) == {-0.18, 0.18}  # Both of the first arm.
    np.testing.assert_allclose(bars[0.18], (0.30 + 0.32 + 0.31) / 3)
    dots = [xy for line in axes.lines for xy in line.get_xydata() if xy[0] == 1.18]
    np.testing.assert_array_equal(dots, [[1.18, 0.28], [1.18, 0.301], [1.18, math.nan]])
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names[0] == "none" and " ".join(names[1].split()) == "paper 1 of 3 diverged"
    assert "no bar where a seed has no number" in texts(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    lowest = min(box.y0 for box in tick_boxes(axes.xaxis))
    assert lowest > figure.legends[0].get_window_extent(renderer).y1


@pytest.mark.parametrize("name", ["overfitting", "training_error"])
def test_lines_of_an_arm_of_which_a_seed_diverged_are_of_the_others(one_diverged, name):
    figure = draw(one_diverged, name)
    thick = lines(figure, 0, canvas.COLORS[1])
    points = math.ceil(2 * synthetic.PER_EPOCH / synthetic.PER_POINT)
    last = max(line[-1, 0] for line in thick if line.size)
    assert last == pytest.approx(points * synthetic.PER_POINT / synthetic.PER_EPOCH)
    if name == "overfitting":
        assert thick[-1][-1, 1] == pytest.approx((0.28 + 0.301) / 2)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "1 of 3 diverged" in labels[1] and "diverged" not in labels[0]
    assert "without those that diverged" in texts(figure)


def test_a_ratio_that_is_not_known_is_called_so_in_the_legend(one_diverged):
    assert "alexnet_cifar, modern: not known" in texts(draw(one_diverged, "ratios"))


def test_many_seeds_are_a_band_and_not_a_line_each(study_dir, monkeypatch):
    """Its ends lie a tenth of the way from the outer ones of three seeds to the middle one."""
    monkeypatch.setattr(training_error, "MANY", 3)
    figure = draw(study_dir, "training_error")
    assert not [line for line in figure.axes[0].lines if line.get_linewidth() == 0.7]
    assert "band: where nine of ten seeds are" in texts(figure)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    (arm, *_) = analyse(load_study(study_dir)).groups[0].arms
    low, middle, high = sorted(trial.metrics["train_error"][20] for trial in arm.fresh)
    ends = band[np.isclose(band[:, 0], arm.fresh[0].metrics["epoch"][20])][:, 1]
    wanted = [low + 0.1 * (middle - low), high - 0.1 * (high - middle)]
    np.testing.assert_allclose(sorted(ends), wanted, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_its_data_and_device(study_dir, name):
    assert "data: cifar10-jpeg; device: 1 x cpu (AMD EPYC)" in texts(draw(study_dir, name))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "panel"), [("training_error", 0), ("ratios", 1)])
def test_the_papers_curves_stand_beside_cifar10_alone(study_dir, tmp_path, name, panel):
    figure = draw(study_dir, name)
    assert "paper, tanh" in texts(figure)
    assert lines(figure, panel, canvas.GREY)
    synthetic.write_study(tmp_path, data={"name": "procedural"})
    figure = draw(tmp_path, name)
    assert "paper, tanh" not in texts(figure)
    assert "procedural (not CIFAR-10: the paper's curves are left out)" in texts(figure)
    assert not lines(figure, panel, canvas.GREY)


@pytest.mark.slow
def test_only_what_is_read_as_the_papers_stands_beside_it(study_dir):
    """The left panel is the online error of the trailing epoch, which the paper's is not."""
    figure = draw(study_dir, "ratios")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["tanh / relu, online", "tanh / relu, as in Fig. 1"]
    assert not lines(figure, 0, canvas.GREY)


def test_a_censored_rate_is_an_open_triangle_where_it_stopped(study_dir):
    figure = draw(study_dir, "learning_rates")
    triangles = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    assert {line.get_markerfacecolor() for line in triangles} == {"w"}
    heights = [height for line in triangles for height in np.asarray(line.get_ydata()).tolist()]
    last = int(np.ceil(20 * synthetic.PER_EPOCH / synthetic.PER_POINT)) * synthetic.PER_POINT
    assert heights == [last] * 3


def test_the_chosen_rate_is_ringed(study_dir):
    rings = [
        line
        for axes in draw(study_dir, "learning_rates").axes
        for line in axes.lines
        if line.get_markersize() == 11
    ]
    at = [float(np.asarray(line.get_xdata())[0]) for line in rings]
    np.testing.assert_allclose(at, [0.001, 0.001, 0.02, 0.02], rtol=0.02)


def test_diverged_trials_do_not_stretch_the_axis(tmp_path):
    synthetic.write_study(tmp_path)
    fields = {"learning_rate": 0.002, "seed": 0, "purpose": "selection", "iterations": 3}
    synthetic.write_trial(tmp_path, [], status="diverged", **fields)
    figure = draw(tmp_path, "learning_rates")
    assert figure.axes[0].get_ylim()[0] > 1000
    assert "diverged" in texts(figure)


def test_a_trial_without_a_number_that_did_not_diverge_is_not_known(tmp_path):
    """One of four rates never came to 25% training error; another diverged."""
    compare = {"field": "activation", "baseline": "relu", "measure": "equal_test_error"}
    grid = {
        "sweep": {"model": {"activation": ["relu"]}},
        "learning_rates": [0.01, 0.02, 0.04, 0.08],
    }
    synthetic.write_header(tmp_path, stop_at_target=False, compare=compare, **grid)
    for rate, lowest in ((0.01, 0.3), (0.02, 0.1), (0.04, 0.1), (0.08, 0.3)):
        rows = synthetic.make_metrics(lambda e, low=lowest: 0.8 - (0.8 - low) * e / 4, epochs=4)
        for row in rows:
            row["test_error"] = row["train_error"] + 0.05
        fields = {"recipe": "modern", "learning_rate": rate, "purpose": "selection", "seed": 0}
        fields |= {"status": "diverged"} if rate == 0.08 else {}
        synthetic.write_trial(tmp_path, rows, **fields)
    figure = draw(tmp_path, "learning_rates")
    drawn = {
        marker: [x for line in figure.axes[0].lines if line.get_marker() == marker
                 for x in line.get_xdata()]
        for marker in "xs"
    }  # fmt: skip
    assert drawn == {"x": [0.08], "s": [0.01]}
    assert {"diverged", "not known"} <= set(texts(figure).splitlines())


def test_the_legend_has_no_mark_that_is_not_drawn(tmp_path):
    """Of an arm with trials to choose a rate by, those on fresh seeds are not in this figure."""
    synthetic.write_study(tmp_path)
    fields = {"learning_rate": 0.001, "seed": 102, "iterations": 3}
    synthetic.write_trial(tmp_path, [], status="diverged", **fields)
    shown = texts(draw(tmp_path, "learning_rates"))
    assert "diverged" not in shown and "not known" not in shown


@pytest.mark.parametrize("span", [1.0, 0.05, 0.004, 0.0003])
def test_no_two_ticks_of_percents_read_the_same(span):
    figure, (axes,) = canvas.make_panels(["a"], title="", ylabel="", caption="")
    axes.set_ylim(0.3 - span / 2, 0.3 + span / 2)
    scales.set_percents(axes.yaxis)
    figure.draw_without_rendering()
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert len(shown) > 2
    np.testing.assert_allclose([float(t.removesuffix("%")) / 100 for t in shown], axes.get_yticks(),
                               atol=1e-9)  # fmt: skip


def test_ratios_are_open_where_censored(study_dir):
    figure = draw(study_dir, "ratios")
    exact = lines(figure, 0, canvas.COLORS[0])[0]
    assert len(exact) == 4  # 30% and 25% were not reached by tanh
    triangles = [[line for line in axes.lines if line.get_marker() == "^"] for axes in figure.axes]
    assert list(map(len, triangles)) == [2, 2]  # Ours; on the right one is the paper's.
    assert np.all(np.diff(exact[:, 1]) > 0)


@pytest.mark.parametrize(
    ("relu", "tanh"), [([11, 12, 11, 12, 0], [0] * 5), ([0] * 5, [11, 12, 11, 12, 0])]
)
def test_an_interval_is_drawn_also_where_the_ratio_has_no_bound(tmp_path, relu, tanh):
    write_pair(tmp_path, relu, tanh, thresholds=[0.25])
    (effect,) = analyse(load_study(tmp_path)).effects()
    assert effect.interval.exists and math.isnan(effect.interval.bound)
    panel = draw(tmp_path, "ratios").axes[0]
    bars = [line.get_ydata() for line in panel.lines if line.get_linewidth() == 2.5]
    ends = [effect.interval.low, effect.interval.high]
    (finite,) = [end for end in ends if 0 < end < math.inf]
    assert finite in bars[0]
    low, high = panel.get_ylim()
    assert low < finite < high


def overlaps(boxes: list[Bbox]) -> list[tuple[int, int]]:
    """Pairs of boxes, by number, that touch one another."""
    pairs = itertools.combinations(range(len(boxes)), 2)
    return [(i, j) for i, j in pairs if boxes[i].overlaps(boxes[j])]


def tick_boxes(axis: Axis) -> list[Bbox]:
    """Where the labels of an axis's ticks stand, in pixels."""
    renderer = FigureCanvasAgg(axis.get_figure()).get_renderer()
    axis.get_figure().draw(renderer)
    low, high = sorted(axis.get_view_interval())
    shown = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    return [t.label1.get_window_extent(renderer) for t in shown if t.label1.get_text()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("relu", "tanh"),
    [
        ([20, 22, 24, 26], [0, 0, 31, 40]),  # An interval whose end is beyond 10,000.
        ([11, 12, 13], [700, 760, 800]),  # A ratio beyond 50.
        ([700, 760, 800], [11, 12, 13]),
        ([11], [0]),  # A bound of 100 / 10.5 and no interval.
    ],
)
def test_an_axis_of_ratios_has_every_value_but_not_the_ends_of_wide_intervals(tmp_path, relu, tanh):
    write_pair(tmp_path, relu, tanh, max_epochs=100, thresholds=[0.25])
    (effect,) = analyse(load_study(tmp_path)).effects()
    within = [1.0, effect.interval.bound]
    for name, axis in (("ratios", "yaxis"), ("effects", "xaxis")):
        with canvas.style():
            panel = draw(tmp_path, name).axes[0]
            low, high = getattr(panel, axis).get_view_interval()
            assert low < min(within) and max(within) < high
            assert low > min(0.01, min(within) / 2) and high < max(100, max(within) * 2)
            assert not overlaps(tick_boxes(getattr(panel, axis)))


def test_ticks_of_ratios_are_as_many_as_have_room():
    """In 1 inch for a decade 1 to 2 is 0.301 inches, 2 to 5 is 0.398, and 5 to 6 is 0.079."""
    fine, few = ([1, 2, 3, 4, 5, 6, 8, 10], [1, 2, 5, 10])
    assert scales.ratio_ticks((1.0, 10.1), 1.0, lambda _: 0.07, scales.MANY) == [1, 1.5, *fine[1:]]
    assert scales.ratio_ticks((1.0, 10.1), 1.0, lambda _: 0.29, scales.MANY) == few
    assert scales.ratio_ticks((1.0, 10.1), 1.0, lambda _: 0.31, scales.MANY) == [1, 10]


def test_differences_that_are_all_0_have_an_axis():
    """Matplotlib warns of an axis without width, which the tests take for an error."""
    none = Interval(0.0, math.nan, math.nan, (3, 3), "difference", "no spread")
    figure = forest([("Difference", [Bar("a", none, "0.0", "k")])], caption="")
    np.testing.assert_allclose(figure.axes[0].get_xlim(), [-0.011, 0.011])


def test_saturation_stands_beside_fig_1_where_layers_were_measured(study_dir, tmp_path):
    assert not registry.measures_layers(analyse(load_study(study_dir)))
    grid = {"sweep": {"model": {"activation": ["relu", "tanh"]}}, "learning_rates": [0.02]}
    synthetic.write_header(tmp_path, **grid)
    for activation, share in (("relu", 0.3), ("tanh", 0.97)):
        rows = synthetic.make_metrics(lambda e: 0.8, epochs=2)
        rows = [row | {"conv1_saturated": share, "conv2_saturated": 0.1} for row in rows]
        fields = {"recipe": "modern", "activation": activation, "learning_rate": 0.02}
        synthetic.write_trial(tmp_path, rows, **fields)
    figure = draw(tmp_path, "saturation")
    assert "Saturated units of conv1 by epoch" in texts(figure)
    drawn = {float(np.asarray(line.get_ydata())[-1]) for line in figure.axes[0].lines}
    assert drawn == {0.3, 0.97}
    synthetic.write_trial(tmp_path, rows, **fields | {"seed": 101, "status": "diverged"})
    told = " ".join(texts(draw(tmp_path, "saturation")).split())
    assert "1 to 2 seeds, 1 trial diverged; saturated: " in told


def test_text_is_drawn_as_text(tmp_path):
    """An underscore or a pair of dollar signs in a name is no formula."""
    with canvas.style():
        assert matplotlib.rcParams["text.parse_math"] is False
        figure, _ = canvas.make_panels(["$x_"], title="a$b$", ylabel="", caption="$\\frac{1$")
        canvas.save(figure, tmp_path / "text")
    assert (tmp_path / "text.svg").exists()


@pytest.mark.parametrize("installed", [False, True])
def test_letters_without_a_font_are_spelt_out(tmp_path, monkeypatch, installed):
    """No boxes, and no warning, which the tests would take for an error; with a font, as they are.

    DejaVu Sans Mono stands for another font: of these letters it has one alone.
    """
    other = "DejaVu Sans Mono" if installed else None
    monkeypatch.setattr(glyphs, "_font_with", lambda letters: other)
    words = "caf\u00e9 \u732b" if not installed else "caf\u00e9 \u2190"
    monkeypatch.setattr(glyphs, "_missing", lambda words: frozenset(words) & {"\u732b", "\u2190"})
    with canvas.style():
        figure, (axes,) = canvas.make_panels([words], title=words, ylabel="", caption=words)
        axes.set_yticks([0, 1], labels=[words, "b"])
        canvas.save(figure, tmp_path / "text")
    shown = words if installed else "caf\u00e9 \\u732b"
    assert texts(figure) == "\n".join([shown] * 3)
    assert [text.get_text() for text in axes.get_yticklabels()] == [shown, "b"]


def test_a_font_of_boxes_is_none(tmp_path):
    """Matplotlib brings one that has a box for every letter, also for one that nobody has used."""
    assert glyphs._font_with(frozenset("\U000e01f5")) is None
    assert glyphs._font_with(frozenset("\u2190")) is not None


def test_every_figure_that_is_drawn_is_linked_under_a_heading_of_the_report(study_dir):
    analysis = analyse(load_study(study_dir))
    headings = {"", *(section.heading for section in compose.SECTIONS)}
    assert {row.section for row in registry.FIGURES} <= headings
    text = compose.compose(analysis)
    for row in registry.FIGURES:
        assert (f"]({row.name}.png)" in text) == row.when(analysis)


@pytest.mark.slow
def test_a_figure_of_ones_own_is_a_function_and_a_row(study_dir, tmp_path, monkeypatch):
    def own(analysis):
        figure, (axes,) = canvas.make_panels(["mine"], title="Mine", ylabel="", caption="")
        axes.plot([len(analysis.study.trials)], [1], "o")
        return figure

    row = registry.Row("own", "My own figure", "Trials", lambda analysis: True, own)
    monkeypatch.setattr(registry, "FIGURES", (*registry.FIGURES, row))
    analysis = analyse(load_study(study_dir))
    registry.write_figures(tmp_path, analysis)
    assert (tmp_path / "own.png").exists()
    under = compose.compose(analysis).split("## Trials")[1]
    assert "![My own figure](own.png)" in under


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 8])
def test_any_number_of_values_can_be_compared(tmp_path, name, count):
    names = ["relu", "tanh", "sigmoid", "elu", "gelu", "silu", "celu", "selu"][:count]
    synthetic.write_header(tmp_path, sweep={"model": {"activation": names}}, learning_rates=[0.02])
    for i, activation in enumerate(names):
        metrics = synthetic.make_metrics(lambda e, i=i: 0.9 / (1 + e / (1 + i)), epochs=3)
        fields = {"recipe": "modern", "activation": activation, "learning_rate": 0.02}
        synthetic.write_trial(tmp_path, metrics, **fields)
    with canvas.style():
        FigureCanvasAgg(draw(tmp_path, name)).draw()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trials", ["none", "diverged"])
def test_a_study_with_nothing_to_show_can_be_drawn(tmp_path, name, trials):
    synthetic.write_header(tmp_path)
    if trials == "diverged":
        for purpose, seed in [("selection", 0), ("fresh", 100)]:
            fields = {"seed": seed, "final_train_error": math.nan, "iterations": 2}
            synthetic.write_trial(tmp_path, [], purpose=purpose, status="diverged", **fields)
    with canvas.style():
        FigureCanvasAgg(draw(tmp_path, name)).draw()


@pytest.mark.slow
@pytest.mark.parametrize("panels", [1, 2, 3, 6])
@pytest.mark.parametrize("more", ["", ", batch_size 64, weight_decay 0.0005, \u732b" * 3])
def test_nothing_runs_out_of_the_figure(monkeypatch, panels, more):
    """Nor over anything else, also where words are long and letters are spelt out."""
    monkeypatch.setattr(glyphs, "_font_with", lambda letters: None)
    with canvas.style():
        handles, *legends = (
            [canvas.legend_entry(f"a label of some length, {i}{more}", color="k") for i in range(7)]
            for _ in range(panels + 1)
        )
        figure, axes = canvas.make_panels(
            [f"panel {i}{more}" for i in range(panels)],
            title=f"A title{more}",
            ylabel=f"a quantity{more}"[:70],
            caption=f"one line{more}\nand another",
            handles=handles,
            legends=legends,
        )
        assert len(axes) == panels
        for each in axes:
            each.set_xlabel("epochs")
        glyphs.complete(figure)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        width, height = figure.bbox.size
        own = [each.get_legend() for each in axes]
        for part in own:
            part.set_in_layout(False)  # A panel is its axes, labels and title.
        parts = [*axes, *own, *figure.legends, *figure.texts]
        boxes = [part.get_tightbbox(renderer) for part in parts]
        assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= width and b.y1 <= height for b in boxes)
        assert not overlaps(boxes)
        assert "\u732b" not in texts(figure)


def test_a_figure_has_the_first_groups_and_says_how_many_there_are():
    titles = [f"group {i}" for i in range(30)]
    figure, panels = canvas.make_panels(titles, title="Title", ylabel="y", caption="caption")
    assert [axes.get_title(loc="left") for axes in panels] == titles[:24]
    assert figure.texts[1].get_text() == "caption\nthe first 24 of 30 groups"


def test_a_forest_plot_fits_a_phone_and_names_what_it_measures(study_dir):
    figure = draw(study_dir, "effects")
    assert figure.get_size_inches()[0] <= 3.7
    assert "Iterations to 25% training error: ratio to relu" in texts(figure)
    found = Interval(-0.01, -0.02, 0.0, (5, 5), "difference")
    bars = [Bar(words, found, "-1.0 (-2.0 to 0.0), shown", "k") for words in ("short", "x " * 60)]
    figure = forest([("Difference", bars)], caption="word " * 40)
    assert figure.get_size_inches()[0] <= 3.7
    canvas_of = FigureCanvasAgg(figure)
    width = figure.bbox.width
    every = [*figure.texts, *(t for axes in figure.axes for t in axes.texts)]
    assert all(t.get_window_extent(canvas_of.get_renderer()).x1 <= width for t in every)


@pytest.mark.parametrize("label", ["\u732b" * 2, "\u732b " * 30])
def test_a_label_that_is_spelt_out_has_room_beside_its_plot_or_above(monkeypatch, label):
    monkeypatch.setattr(glyphs, "_font_with", lambda letters: None)
    found = Interval(-0.01, -0.02, 0.0, (5, 5), "difference")
    with canvas.style():
        figure = forest([("Difference", [Bar(label, found, "-1.0", "k")])], caption="")
        glyphs.complete(figure)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        shown = [*figure.axes[0].get_yticklabels(), *figure.axes[0].texts]
        boxes = [text.get_window_extent(renderer) for text in shown]
        assert "".join(text.get_text() for text in shown).count("\\u732b") == label.count("\u732b")
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
        assert figure.axes[0].bbox.width >= 1.2 * figure.dpi - 1e-6


def test_no_two_of_many_arms_look_the_same():
    styles = [canvas.line_style(number) for number in range(32)]
    assert len(set(styles)) == 32
    assert [color for color, _ in styles[:8]] == [*canvas.COLORS]
    assert [dashes for _, dashes in styles[:8]] == [*canvas.DASHES] * 2
