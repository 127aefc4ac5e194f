# METADATA
# title: Exact decimals
# description: |
#   Numbers as the client wrote them, and arithmetic on them that is exact. OPA compares numbers exactly, and it adds and
#   multiplies whole ones exactly, of any size; of one with a fraction it takes the first 64 bits. So all arithmetic here
#   is on whole numbers, the power of ten apart: 1.10 is 110 times 10 to the power -2.
#
#   What cannot be computed exactly is undefined, which is no proof. No function here raises an error, which would cost
#   the answer as a whole.
#
#   A list may be long. What OPA remembers of a function's calls it finds by the whole part of a number, so with many
#   fractions each call would be compared with all before it. So functions that are called for each element get a text,
#   or first the position. And lists of numbers with few digits are known by their text, and shifted in it as a whole.
package intercept.exact

# METADATA
# title: decimal_text
# description: |
#   The number that a text says, if it is a plain decimal of up to 34 significant digits and 400 characters and less than
#   1e308, near which there is a double; undefined for any other text. What is no text stays what it is.
decimal(value) := value if not is_string(value)

decimal(value) := plain_decimal(value) if is_string(value)

# METADATA
# title: decimal_text with [*]
# description: |
#   Each of the values as `decimal` has it, and in the place of a text that says no number the set that no JSON holds.
decimals(values) := json.unmarshal(replace(text, `"`, "")) if {
	is_array(values)
	text := json.marshal(values)
	regex.match(`^\[("-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,8})?"[,\]])+$`, text)
} else := [number | some position, value in values; number := decimal_or_blocked(position, value)] if is_array(values)

# METADATA
# description: One element of `decimals`.
decimal_or_blocked(_, value) := value if {
	not is_string(value)
} else := plain_decimal(value) if {
	is_string(value)
} else := {"blocked"}

# METADATA
# description: The number that a plain decimal says; undefined for any other text.
plain_decimal(text) := to_number(text) if {
	# Few enough for OPA to compare them as decimals, whatever zeros they end in.
	regex.match(`^-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,8})?$`, text)
} else := json.unmarshal(without_final_zeros(text)) if {
	count(text) <= 400
	regex.match(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`, text)
	significant_digits(text) <= 34
	count(trim_left(split(text, ".")[0], "-")) <= 308
}

# METADATA
# description: |
#   A plain decimal in its shortest form. Of two long numbers that both end in a zero after the dot OPA compares the
#   doubles.
without_final_zeros(text) := text if not contains(text, ".")

without_final_zeros(text) := trim_right(trim_right(text, "0"), ".") if contains(text, ".")

# METADATA
# title: times
# description: |
#   The exact product of two numbers; undefined when one is no number, and when the product has more than 34 significant
#   digits or is not less than 1e308.
product(a, b) := product_of_texts(json.marshal(a), json.marshal(b)) if {
	is_number(a)
	is_number(b)
}

# METADATA
# title: times with [*]
# description: |
#   The products of two lists of the same length, element by element, and in the place of one that `product` does not
#   know the set that no JSON holds.
products(one, other) := each_times("e-16", json.marshal(found)) if {
	is_array(one)
	is_array(other)
	count(one) == count(other)
	shifted := wholes(json.marshal(one))
	factors := wholes(json.marshal(other))
	found := [product | some position, value in shifted; product := value * factors[position]]
} else := [product |
	some position, value in one
	product := product_or_blocked(position, value, other[position])
] if {
	is_array(one)
	is_array(other)
	count(one) == count(other)
}

# METADATA
# description: One element of `products`.
product_or_blocked(_, a, b) := product_of_texts(json.marshal(a), json.marshal(b)) if {
	is_number(a)
	is_number(b)
} else := {"blocked"}

# METADATA
# description: The exact product of two numbers as they are written.
product_of_texts(a, b) := number(json.marshal(factors[0] * factors[1]), -16) if {
	factors := wholes(concat("", ["[", a, ",", b, "]"]))
} else := number(json.marshal(one.whole * other.whole), one.exponent + other.exponent) if {
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
amount(value) := value if countable(0, value)

# METADATA
# description: True for zero, and for a number that a counter can hold exactly.
countable(_, value) if {
	is_number(value)
	value < 1e31
	true in [value >= 1e-30, value == 0]
	significant_digits(written(json.marshal(value))[0]) <= 34
}

# METADATA
# title: an amount with [*]
# description: The exact sum of a list of amounts, if it is an amount itself; undefined when an element is none.
total(values) := amount(number(json.marshal(sum(each_times("e20", text))), -20)) if {
	is_array(values)
	text := json.marshal(values)

	# Each of these is an amount, and whole when it is shifted.
	regex.match(`^\[([0-9]{1,14}(\.[0-9]{1,20})?[,\]])+$`, text)
} else := amount(number(json.marshal(sum(shifted)), -63)) if {
	is_array(values)
	shifted := [whole |
		some position, value in values
		countable(position, value)
		text := written(json.marshal(value))

		# The last digit of the smallest amount stands at the 63rd place.
		whole := json_number(text[0], to_number(text[1]) + 63)
	]
	count(shifted) == count(values)
}

# METADATA
# title: times in an amount with [*]
# description: The exact sum of the products of two lists of numbers, element by element, each of them a `counted_product`.
total_of_products(one, other) := amount(number(json.marshal(sum(products)), -16)) if {
	is_array(one)
	is_array(other)
	count(one) == count(other)
	shifted := wholes(json.marshal(one))
	factors := wholes(json.marshal(other))
	min(shifted) >= 0
	min(factors) >= 0
	products := [product | some position, value in shifted; product := value * factors[position]]
} else := total(products(one, other)) if {
	is_array(one)
	is_array(other)
	every value in array.concat(one, other) {
		is_number(value)
		value >= 0
	}
}

# METADATA
# description: |
#   The numbers of a list, which is given as JSON, times 10 to the power 8, all of them whole; undefined unless it holds
#   one or more, and each without an exponent and with up to 9 digits before the dot and 8 after it: the product of two
#   of those has 34 at most.
wholes(text) := each_times("e8", text) if regex.match(`^\[(-?[0-9]{1,9}(\.[0-9]{1,8})?[,\]])+$`, text)

# METADATA
# description: The numbers of a list, which is given as JSON and has no exponents, each with the exponent.
each_times(exponent, text) := json.unmarshal(strings.replace_n(
	{",": concat("", [exponent, ","]), "]": concat("", [exponent, "]"])},
	text,
))

# METADATA
# description: A number of any form as a whole one and the power of ten that it is times of.
apart(number) := {"whole": json_number(text[0], places), "exponent": to_number(text[1]) - places} if {
	text := written(number)
	places := count(split(concat("", [text[0], "."]), ".")[1])
}

# METADATA
# description: What the client wrote before the exponent, then the exponent, 0 where it wrote none.
written(number) := split(concat("", [lower(number), "e0"]), "e")

# METADATA
# description: The number that is written so; unlike `to_number` for one that is greater than every double too.
json_number(digits, exponent) := json.unmarshal(concat("", [digits, "e", format_int(exponent, 10)]))

# METADATA
# description: The digits of a text without an exponent, without zeros at the ends.
significant_digits(text) := count(trim(replace(text, ".", ""), "-0"))

# METADATA
# description: |
#   The digits of a whole number times a power of ten, as a number that OPA compares exactly: in full if it is whole, else
#   as digits and an exponent. Undefined when it has more than 34 significant digits or is not less than 1e308.
number("0", _) := 0

number(digits, exponent) := json.unmarshal(in_full(digits, exponent)) if {
	digits != "0"
	significant_digits(digits) <= 34
	count(trim_left(digits, "-")) + exponent <= 308
}

# METADATA
# description: The digits of a whole number without as many final zeros as the power of ten takes away.
in_full(digits, exponent) := substring(digits, 0, count(digits) + exponent) if {
	exponent <= 0
	count(digits) - count(trim_right(digits, "0")) >= abs(exponent)
} else := concat("", [short, "e", format_int((exponent + count(digits)) - count(short), 10)]) if {
	short := trim_right(digits, "0")
}
