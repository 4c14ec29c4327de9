"""Numbers with units as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("5'-3\" x 2'", "five feet three inches x two feet"),
    ("1,5 kg, 0,25 L", "one point five kilograms, zero point two five liters"),
    ("4.7 kΩ and 2 MΩ", "four point seven kilohms and two megohms"),
    ("4 kW·h, 3 N·m", "four kilowatt hours, three newton meters"),
    ("5 ft. 2 in. tall", "five feet two inches tall"),
    ("It is 5 ft. 2 people came.", "it is five feet. two people came."),
    ("½A, ½lb and T½T", "half an ampere, half a pound and t one half t"),
    ("5 µm, 5 µg, 10 µs, 3 Ω", "five micrometers, five micrograms, ten microseconds, three ohms"),
    ("10 kWh, 1013 hPa, 50mL", "ten kilowatt hours, one thousand thirteen hectopascals, fifty milliliters"),
    (
        "12 µg/m³, 9.8 m/s², 15 m/s",
        "twelve micrograms per cubic meter, nine point eight meters per second squared, "
        "fifteen meters per second",
    ),
    ("1/2 lb, 2½ kg, 3/4 cup", "half a pound, two and a half kilograms, three quarters of a cup"),
    (
        "3h 20m, 5m 3s, 1h30",
        "three hours twenty minutes, five minutes three seconds, one hour thirty minutes",
    ),
    ('6\'2", 5′10″, a 12" pizza', "six feet two inches, five feet ten inches, a twelve inch pizza"),
    ("2m views, 120k miles, 2 m", "two million views, one hundred twenty thousand miles, two meters"),
    (
        "1920x1080, 2 x 4 x 6 m",
        "one thousand nine hundred twenty by one thousand eighty, two by four by six meters",
    ),
    ("20°C, -5°F, 45°N", "twenty degrees celsius, minus five degrees fahrenheit, forty five degrees north"),
    (
        "2-5lb, 5–10%, 20-25°C",
        "two to five pounds, five to ten percent, twenty to twenty five degrees celsius",
    ),
    ("a 7.2-millimeter bullet, a 6-ft board", "a seven point two millimeter bullet, a six foot board"),
    ("12V battery, 12 V", "twelve volt battery, twelve volts"),
    (
        "a 12 V battery, 12 in. pipe, 6 ft. ladder, the 5 mm screws",
        "a twelve volt battery, twelve inch pipe, six foot ladder, the five millimeter screws",
    ),
    (
        "a 5 kg bag, 5 kg apples, a 5-10 kg dog, a 5 lb. bag",
        "a five kilogram bag, five kilograms apples, a five to ten kilogram dog, a five pound bag",
    ),
    (
        "It needs 12 V from there, 5 V today, ran 5 km yesterday.",
        "it needs twelve volts from there, five volts today, ran five kilometers yesterday.",
    ),
    (
        "It fell 5 cm overnight, 12 in. of snow, 5 in. and 7 in. photos",
        "it fell five centimeters overnight, twelve inches of snow, five inches and seven inch photos",
    ),
    ("1.000,50 kg", "one thousand point five zero kilograms"),
    ("5 in the morning, 5 in", "five in the morning, five inches"),
    ("1 kg, 1 mbps, 60 mph", "one kilogram, one megabit per second, sixty miles per hour"),
    ("200 mg/day, 12/kg, km/h", "two hundred milligrams per day, twelve per kilogram, kilometers per hour"),
    ("4.4x and 10x", "four point four x and ten x"),
    ("8 GB, 1.5 TB, 100 Mbps", "eight gigabytes, one point five terabytes, one hundred megabits per second"),
    (
        "10% - 20%, 5kg-10kg, 20°–30°",
        "ten percent to twenty percent, five kilograms to ten kilograms, twenty degrees to thirty degrees",
    ),
    ('5/8" and 8½" x 11"', "five eighths of an inch and eight and a half by eleven inches"),
    ("7 days/week, $3/lb", "seven days per week, three dollars per pound"),
    ('2" x 4"', "two by four inches"),
    ("3 mm x 4 mm, 5kg x 3", "three millimeters by four millimeters, five kilograms x three"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_measures(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
