"""Makes a Parquet file of predictions.csv: half of its size, with types, and read by columns.

It is for other programs, such as pandas.read_parquet. jaxser itself reads predictions.csv.
"""

import importlib.util
import io

from data_pipelines import csv_files

MIN_CSV_BYTES = 100 * 10**6  # a larger predictions.csv has a Parquet file beside it
ROW_GROUP_BYTES = 64 * 2**20  # bytes of predictions.csv in one row group
TEXT_COLUMNS = ('run', 'utterance', 'speaker', 'truth')  # all others are numbers


def is_available() -> bool:
    """Whether PyArrow is installed; TensorFlow Datasets brings it."""
    return importlib.util.find_spec('pyarrow') is not None


def csv_to_parquet(content: bytes) -> bytes:
    """Returns the table of a predictions.csv as a Parquet file; an empty number is null."""
    import pyarrow
    from pyarrow import csv
    from pyarrow import parquet as arrow_parquet

    header, _, _ = content.partition(b'\n')
    names = csv_files.read_rows(header.decode()).fieldnames
    types = dict.fromkeys(names, pyarrow.float64()) | {'fold': pyarrow.int32()}
    types |= dict.fromkeys(TEXT_COLUMNS, pyarrow.string())
    convert = csv.ConvertOptions(column_types=types, null_values=[''], strings_can_be_null=False)
    reader = csv.open_csv(
        io.BytesIO(content),
        read_options=csv.ReadOptions(block_size=ROW_GROUP_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    )
    file = io.BytesIO()
    with arrow_parquet.ParquetWriter(file, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return file.getvalue()
