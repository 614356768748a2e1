"""What predictions rest on beside the fit: measurements of any card, and this machine's own cells.

Where this machine has measured enough cells of a model at a precision on a card, the others follow
from those alone (`own_cells.py`); elsewhere the card's specification is corrected by all that was
measured (`calibrate.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from diffusion_bench.tiers.calibrate import Residual
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.predict import Prediction, predict
from diffusion_bench.tiers.workload import Software, TimedCell, Workload

if TYPE_CHECKING:  # it needs numpy, which takes a tenth of a second to import
    from diffusion_bench.tiers.own_cells import OwnLaw

MIN_OWN_CELLS = 4  # different workloads of the model, at the precision asked for


class Knowledge:
    """Measurements, and the predictions that follow from them."""

    def __init__(
        self,
        residuals: Sequence[Residual] = (),
        own_cells: Mapping[str, Sequence[TimedCell]] | None = None,
    ) -> None:
        """Take measurements of any card, and this machine's own cells by the name of its card."""
        self.residuals = tuple(residuals)
        self._own_cells = own_cells or {}
        self._laws: dict[tuple[str, str], OwnLaw] = {}

    def predict(
        self,
        card: Card,
        workload: Workload,
        software: Software | None = None,
        *,
        loop_only: bool = False,
    ) -> Prediction:
        """Return the prediction for a workload, by plain PyTorch unless told; ValueError for none.

        `loop_only`: the rate is of the denoising loop. This machine's own cells are whole calls of
        plain PyTorch and tell nothing else.
        """
        chosen = software or Software()
        if chosen == Software() and not loop_only:
            own = self._own_prediction(card, workload)
            if own is not None:
                return own
        return predict(card, workload, chosen, residuals=self.residuals, loop_only=loop_only)

    def _own_prediction(self, card: Card, workload: Workload) -> Prediction | None:
        cells = [
            cell
            for cell in self._own_cells.get(card.name, ())
            if cell.workload.precision == workload.precision
        ]
        of_model = {cell.workload for cell in cells if cell.workload.model == workload.model}
        if len(of_model) < MIN_OWN_CELLS:
            return None
        from diffusion_bench.tiers.own_cells import fit_cells, predict_cell

        key = (card.name, workload.precision)
        if key not in self._laws:
            self._laws[key] = fit_cells(cells, on_gpu=True)
        found = predict_cell(self._laws[key], workload)
        rate = workload.batch * workload.steps / found.seconds
        margin = math.sqrt(found.seconds_high / found.seconds_low)
        return Prediction(
            card=card.name,
            workload=workload,
            software=Software(),
            seconds=found.seconds,
            seconds_low=found.seconds_low,
            seconds_high=found.seconds_high,
            seconds_per_image=found.seconds / workload.batch,
            image_steps_per_s=rate,
            image_steps_per_s_low=rate / margin,
            image_steps_per_s_high=rate * margin,
            basis=f"{found.cells} cells that this machine measured on its {card.name}",
        )
