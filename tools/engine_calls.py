"""The calls that pipelines make most: the order in which functions are asked, and a measure of the list.

Each line is something that pipelines do, the commonest first, and the calls in which they do it, written as
the list has them: types of columns, and constants in quotes. A line is known where all of its calls are.
"""

from collections.abc import Iterable

from engine_shapes import SCALARS
from pyspark.sql.types import ArrayType, DataType, DecimalType, MapType, StructField, StructType

from cdc_local.engines.known.listed import Known, split_types

COMMON = """
==(string, string) | ==(int, int) | ==(bigint, bigint)
cast(string AS int) | cast(string AS bigint) | cast(string AS double)
when(string, string) | when(int, int)
coalesce(string, string) | coalesce(bigint, bigint)
isnotnull(string) | isnotnull(timestamp)
>(int, int) | >(double, double) | >(timestamp, timestamp)
and(boolean, boolean) | or(boolean, boolean) | not(boolean)
sum(int) | sum(bigint)
count(*) | count(string)
current_timestamp()
+(int, int) | +(bigint, bigint)
*(double, double) | *(int, double)
cast(string AS date)
cast(string AS timestamp)
to_date(string, 'yyyy-MM-dd')
to_timestamp(string)
row_number over()
max(timestamp) | max(int) | max(string)
min(timestamp) | min(int) | min(string)
trim(string)
upper(string)
lower(string)
concat(string, string)
concat_ws(string, string, string)
/(double, double) | /(int, int)
-(int, int) | -(bigint, bigint)
*(decimal(10,2), int) | *(decimal(18,2), decimal(18,4))
round(double, 2)
avg(int) | avg(double)
count DISTINCT(string)
in(string, string, string)
year(date) | year(timestamp)
month(date) | month(timestamp)
date_format(timestamp, 'yyyy-MM-dd') | date_format(date, 'yyyy-MM')
to_date(timestamp)
sum(double)
sum(decimal(10,2)) | sum(decimal(18,2))
regexp_replace(string, '[^0-9]', '')
substring(string, 1, 3)
split(string, ',')
length(string)
datediff(date, date) | datediff(timestamp, timestamp)
explode(array<string>) | explode(array<struct<a:int,b:string>>)
from_json(string, 'a INT, b STRING')
struct(string, int)
sha2(string, 256)
lag over(timestamp) | lead over(timestamp)
date_add(date, int)
dayofmonth(date) | day(timestamp)
hour(timestamp)
cast(int AS string) | cast(bigint AS string) | cast(timestamp AS string)
collect_list(string)
collect_set(string)
sort by(timestamp) | sort by(string)
current_date()
date_trunc('month', timestamp) | date_trunc('day', timestamp)
nvl(string, string) | nvl(int, int)
md5(string)
replace(string, string, string)
size(array<string>)
array_contains(array<string>, string)
element_at(array<string>, int)
greatest(int, int) | greatest(timestamp, timestamp)
least(int, int) | least(timestamp, timestamp)
abs(int) | abs(double)
sum over(int) | sum over(double)
rank over() | dense_rank over()
like(string, 'a%')
rlike(string, '^[A-Z]+')
regexp_extract(string, '([0-9]+)', 1)
get_json_object(string, '$.a')
to_json(struct<a:int,b:string>)
unix_timestamp(timestamp)
from_unixtime(bigint)
lpad(string, 10, '0')
initcap(string)
startswith(string, string)
contains(string, string)
%(int, int)
nullif(string, string)
first(string)
max_by(string, timestamp)
dayofweek(date)
quarter(date)
date_sub(date, int)
add_months(date, int)
months_between(date, date)
last_day(date)
weekofyear(date)
minute(timestamp)
floor(double)
ceil(double)
try_cast(string AS int)
xxhash64(string)
monotonically_increasing_id()
transform(array<string>, lambda)
filter(array<int>, lambda)
array(string, string)
map(string, string)
stddev(double)
"""

# Functions, and the types that pipelines call them with: the documented examples write dates as texts
CALLS = """
year month quarter day dayofmonth dayofweek dayofyear weekofyear weekday: date timestamp timestamp_ntz
last_day dayname monthname unix_date: date timestamp
hour minute second: timestamp timestamp_ntz
to_date date to_timestamp timestamp: date timestamp timestamp_ntz string
to_timestamp_ntz to_timestamp_ltz try_to_timestamp: string timestamp date
unix_timestamp to_unix_timestamp: timestamp date
unix_seconds unix_millis unix_micros: timestamp
from_unixtime timestamp_seconds timestamp_millis timestamp_micros: int bigint
date_from_unix_date: int
datediff date_diff months_between: date,date timestamp,timestamp date,timestamp timestamp,date
date_add date_sub add_months dateadd: date,int timestamp,int
next_day: date,string timestamp,string
make_date: int,int,int
from_utc_timestamp to_utc_timestamp: timestamp,string
abs floor ceil ceiling sign signum positive negative: int bigint double decimal(10,2)
round bround: int bigint double decimal(10,2)
sqrt cbrt exp expm1 ln log log10 log2 log1p sin cos tan asin acos atan: double int
sinh cosh tanh degrees radians: double int
pow power atan2 hypot log pmod: double,double int,int
pmod: bigint,bigint decimal(10,2),decimal(10,2)
isnan nanvl: double
nanvl: double,double
sum avg mean median min max try_sum try_avg: int bigint double decimal(10,2)
stddev stddev_samp stddev_pop variance var_samp var_pop skewness kurtosis: int double
bool_and bool_or every some any: boolean
bit_and bit_or bit_xor: int bigint
approx_count_distinct: int bigint string double date timestamp boolean
md5 sha sha1 crc32 base64 unbase64 hex unhex ascii char_length character_length char octet_length: string
bit_length length len lower lcase upper ucase trim ltrim rtrim initcap reverse soundex: string
md5 base64 hex sha1: binary
contains startswith endswith instr position locate levenshtein find_in_set: string,string
repeat left right substr substring sha2: string,int
lpad rpad: string,int,string
substr substring: string,int,int
replace translate split_part: string,string,string
translate: string,string,string
split_part substring_index: string,string,int
concat: string,string,string
concat_ws: string,string,string,string
btrim: string,string
bin chr char: bigint int
try_add try_subtract try_multiply try_divide: int,int bigint,bigint double,double decimal(10,2),decimal(10,2)
shiftleft shiftright: int,int bigint,int
nvl ifnull nullif zeroifnull nullifzero: int,int string,string
zeroifnull nullifzero: int bigint double
equal_null: string,string bigint,bigint date,date timestamp,timestamp
date_part: string,date
/ % div: int,int bigint,bigint double,double decimal(10,2),decimal(10,2)
"""

# Their time and memory grow with a number: large ones are not asked
SIZED = {"array_repeat", "lpad", "repeat", "rpad", "sequence", "space", "randstr"}


def lines() -> list[list[str]]:
    "The calls of each line."
    return [line.split(" | ") for line in COMMON.strip().splitlines()]


def known_lines(known: Known) -> list[list[str]]:
    "The lines all of whose calls are on a list."
    return [line for line in lines() if all(known.has(*read_call(call)) for call in line)]


def read_call(
    call: str,  # `date_format(date, 'yyyy')`
) -> tuple[str, list[DataType | str], list[object]]:  # Name, types, and the constants, None for what is none
    "Read a call as the list writes it."
    name, _, rest = call.removesuffix(")").partition("(")
    parts = rest.split(" AS ") if " AS " in rest else split_types(rest)
    constants = [_constant(part) for part in parts]
    types = [read_type(_type_of(*both)) for both in zip(parts, constants, strict=True)]
    return name, types, constants


def _constant(part: str) -> object:
    if part[0] == "'":
        return part[1:-1]
    return int(part) if part.isdigit() else None


def _type_of(part: str, constant: object) -> str:
    return part if constant is None else "int" if isinstance(constant, int) else "string"


def read_type(
    text: str,  # `array<struct<a:int>>`, `lambda`
) -> DataType | str:
    "Read a type as the list writes it; what has none is what it is."
    outer, _, inner = text.removesuffix(">").partition("<")
    if outer == "array":
        return ArrayType(read_type(inner))
    if outer == "map":
        return MapType(*map(read_type, split_types(inner)))
    if outer == "struct":
        fields = (part.split(":", 1) for part in split_types(inner))
        return StructType([StructField(name, read_type(kind)) for name, kind in fields])
    if outer.startswith("decimal"):
        return DecimalType(*map(int, outer[8:-1].split(",")))
    return next((kind for kind in SCALARS if kind.simpleString() == text), text)


def in_order(names: Iterable[str]) -> list[str]:
    "Functions, those that pipelines call most first."
    ranks = {name_of(call): at for at, line in reversed([*enumerate(lines())]) for call in line}
    return sorted(names, key=lambda name: (ranks.get(name, len(ranks)), name))


def name_of(signature: str) -> str:
    return signature.partition("(")[0]
