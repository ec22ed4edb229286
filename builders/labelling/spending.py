"""What labels cost: what was spent, and bounds that are not passed."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fgvedit.util.errors import FGVEditError


@dataclass(frozen=True)
class Cost:
    """Requests, their tokens, and `money` in the currency of the prices: 0 where none is known (`priced` is False)."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float = 0.0
    priced: bool = False

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.money + other.money,
            self.priced or other.priced,
        )

    def __str__(self) -> str:
        price = f"{self.money:,.2f}" if self.priced else "0, since no price is known (input_price, output_price)"
        tokens = f"{self.input_tokens:,} tokens in and {self.output_tokens:,} out"
        return f"{self.requests:,} requests, {tokens}, for {price}"


class Meter:
    """What was spent, and what may be: what a request costs at most is put by before it is sent. For many threads."""

    def __init__(self, name: str, budget: float, max_requests: int) -> None:
        """`name`: the labeller's. `budget`: in the currency of its prices; it and `max_requests` are 0 for no bound."""
        self.name = name
        self.budget = budget
        self.max_requests = max_requests
        self.spent = Cost()
        self._put_by = 0.0
        self._lock = threading.Lock()

    def put_by(self, most: Cost) -> None:
        """Put by what a request costs at most. Raises `FGVEditError` where it could lead past a bound."""
        with self._lock:
            spent = self.spent
            if self.max_requests and spent.requests >= self.max_requests:
                raise FGVEditError(
                    f"labeller '{self.name}': stopped after {spent.requests:,} requests, as many as option "
                    "'max_requests' allows; the same command with more of them goes on from here"
                )
            if self.budget and spent.money + self._put_by + most.money > self.budget:
                raise FGVEditError(
                    f"labeller '{self.name}': stopped at {spent.money:,.4f} spent, before another request (at most "
                    f"{most.money:,.4f}) could lead past option 'budget', {self.budget:,.4f}; the same command with "
                    "a higher one goes on from here"
                )
            self.spent += Cost(requests=most.requests)
            self._put_by += most.money

    def settle(self, most: Cost, actual: Cost) -> None:
        """Count what a request has cost in place of what was put by for it."""
        with self._lock:
            self._put_by -= most.money
            self.spent += actual
