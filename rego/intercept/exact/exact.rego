# METADATA
# title: Exact decimals
# description: |
#   Numbers as the client wrote them, and arithmetic on them that is exact. OPA compares numbers exactly, and it adds and
#   multiplies whole ones exactly, of any size; of one with a fraction it takes the first 64 bits. So all arithmetic here
#   is on whole numbers, the power of ten apart: 1.10 is 110 times 10 to the power -2.
#
#   What cannot be computed exactly is undefined, which is no proof. No function here raises an error, which would cost
#   the answer as a whole.
package intercept.exact

# METADATA
# title: decimal_text
# description: |
#   The number that a text says, if it is a plain decimal of up to 34 significant digits and 400 characters that a
#   double can come near to; undefined for any other text. What is no text stays what it is.
decimal(value) := value if not is_string(value)

decimal(value) := json.unmarshal(without_final_zeros(value)) if {
	is_string(value)
	count(value) <= 400
	regex.match(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`, value)
	significant_digits(value) <= 34
	count(trim_left(split(value, ".")[0], "-")) <= 308
}

# METADATA
# description: |
#   A plain decimal in its shortest form. Of two numbers that both end in a zero after the dot OPA compares the doubles.
without_final_zeros(text) := text if not contains(text, ".")

without_final_zeros(text) := trim_right(trim_right(text, "0"), ".") if contains(text, ".")

# METADATA
# title: times
# description: |
#   The exact product of two numbers; undefined when one is no number, and when the product has more than 34 significant
#   digits or no double comes near to it.
product(a, b) := number(one.whole * other.whole, one.exponent + other.exponent) if {
	is_number(a)
	is_number(b)
	one := apart(a)
	other := apart(b)
}

# METADATA
# title: times in an amount
# description: The product of two numbers, if neither is negative and it is an amount.
counted_product(a, b) := amount(product(a, b)) if {
	a >= 0
	b >= 0
}

# METADATA
# title: increment_from, spend_limit
# description: |
#   The value, when it is an amount that can be counted exactly: a number, not negative, of up to 34 significant
#   digits and between 1e-30 and 1e31. Undefined for anything else.
amount(value) := value if {
	is_number(value)
	in_range(value)
	significant_digits(written(value)[0]) <= 34
}

# METADATA
# description: True for zero, and for a number that a counter can hold exactly.
in_range(0)

in_range(value) if {
	value >= 1e-30
	value < 1e31
}

# METADATA
# title: an amount with [*]
# description: |
#   The exact sum of a list of amounts, if it is an amount itself; undefined when an element is none. What most lists
#   hold is told by their text as a whole: a look at each element takes some 20 times as long.
total(values) := amount(number(sum(wholes), -15)) if {
	is_array(values)
	text := json.marshal(values)
	regex.match(`^\[(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?(,(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?)*\]$`, text)
	wholes := json.unmarshal(strings.replace_n({",": "e15,", "]": "e15]"}, text))
} else := amount(number(sum(wholes), -63)) if {
	is_array(values)

	# The last digit of the smallest amount stands at the 63rd place.
	wholes := [shifted(amount(value), 63) | some value in values]
	count(wholes) == count(values)
}

# METADATA
# description: The number as a whole one and the power of ten that it is times of.
apart(value) := {"whole": shifted_mantissa(text[0], places), "exponent": to_number(text[1]) - places} if {
	text := written(value)
	places := count(split(concat("", [text[0], "."]), ".")[1])
}

# METADATA
# description: The number times a power of ten.
shifted(value, power) := shifted_mantissa(text[0], to_number(text[1]) + power) if text := written(value)

# METADATA
# description: What the text without an exponent says, times a power of ten.
shifted_mantissa(text, power) := json.unmarshal(concat("", [text, "e", format_int(power, 10)]))

# METADATA
# description: What the client wrote before the exponent, then the exponent, 0 where it wrote none.
written(value) := split(concat("", [lower(json.marshal(value)), "e0"]), "e")

# METADATA
# description: The digits of a text without an exponent, without zeros at the ends.
significant_digits(text) := count(trim(replace(text, ".", ""), "-0"))

# METADATA
# description: |
#   A whole number times a power of ten, as a number that OPA compares exactly: in full if it is whole, else as digits
#   and an exponent. Undefined when it has more than 34 significant digits or no double comes near to it.
number(0, _) := 0

number(whole, exponent) := json.unmarshal(in_full(whole, exponent)) if {
	whole != 0
	digits := json.marshal(whole)
	significant_digits(digits) <= 34
	count(trim_left(digits, "-")) + exponent <= 308
}

# METADATA
# description: The digits of a whole number without as many final zeros as the power of ten takes away.
in_full(whole, exponent) := substring(digits, 0, count(digits) + exponent) if {
	digits := json.marshal(whole)
	exponent <= 0
	count(digits) - count(trim_right(digits, "0")) >= abs(exponent)
} else := concat("", [short, "E", format_int((exponent + count(digits)) - count(short), 10)]) if {
	digits := json.marshal(whole)
	short := trim_right(digits, "0")
}
