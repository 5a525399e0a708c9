"""Read the card of a file: input, labels, format, accuracy and origin. No runtime is started.

    python examples/read_card.py landmarks.tflite

`docs/formats.md` describes every field of `info`. Without lmedge, any zip tool reads the same:
`unzip -p landmarks.tflite lmedge.json`.
"""

from __future__ import annotations

import argparse

from lmedge import read_model


def main() -> None:
    """Read the argument, check the file, print its card."""
    parser = argparse.ArgumentParser(description="Print the card of an exported file.")
    parser.add_argument("file", help="a .tflite made by `lmedge export`")
    model = read_model(parser.parse_args().file)

    print(f"sha256      {model.sha256}")
    print(f"input       {model.size} x {model.size} pixels, {model.image.dtype}, {model.resize}")
    print(f"format      {model.info.get('format', 'not recorded')}")
    counts = model.operators.items()
    operators = ", ".join(f"{count} {name} {dtype}" for (name, dtype), count in counts)
    print(f"operators   {operators}")
    for landmark, category in model.taxonomy.hierarchy().items():
        print(f"label       {landmark}  ({category})")
    for part, scores in model.info.get("metrics", {}).items():
        for head in ("landmark", "category"):
            print(f"macro F1    {scores['file'][head]['macro_f1']:.3f}  {head}, part {part}")


if __name__ == "__main__":
    main()
