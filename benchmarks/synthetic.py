"""Drawing rates of the synthetic products: photographs and studio pictures a second on one core.

    python benchmarks/synthetic.py [--products 120] [--per-product 12] [--sizes 128,160,320]

Each size runs in a fresh process, so that drawing the products themselves and the background
scenes is part of the figure. CPU seconds stand beside wall seconds: on a busy machine only the
first say what one core can do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from trainer.synthetic import draw_products, photograph, studio_picture


def measure(products: int, per_product: int, size: int) -> None:
    drawn = draw_products(products, seed=2)
    wall, cpu = time.perf_counter(), time.process_time()
    for number, product in enumerate(drawn):
        near = drawn[max(0, number - 8) : number + 9]
        for shot in range(per_product):
            photograph(product, seed=shot, size=size, neighbors=near)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    photos = products * per_product
    print(f"photograph      {size:>4} px  {photos / cpu:>6.0f} /CPU s  {photos / wall:>6.0f} /wall s  ({photos})")
    wall, cpu = time.perf_counter(), time.process_time()
    for product in drawn:
        for view in range(3):
            studio_picture(product, size=size, view=view)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    pictures = products * 3
    print(f"studio_picture  {size:>4} px  {pictures / cpu:>6.0f} /CPU s  {pictures / wall:>6.0f} /wall s  ({pictures})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=120)
    parser.add_argument("--per-product", type=int, default=12)
    parser.add_argument("--sizes", default="128,160,320")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.products, options.per_product, options.one)
        return
    for size in options.sizes.split(","):
        again = ["--products", str(options.products), "--per-product", str(options.per_product), "--one", size]
        subprocess.run([sys.executable, __file__, *again], check=True)


if __name__ == "__main__":
    main()
