"""The words that the built-in tasks are made of."""

from __future__ import annotations

__all__ = ["BOYS", "CATEGORIES", "GIRLS", "LETTERS", "LIST_WORDS", "OBJECTS"]

BOYS = ("Tom", "Ben", "Max", "Leo", "Sam", "Paul", "Jack", "David", "Peter", "John", "Omar", "Ravi")
GIRLS = (
    "Anna", "Mia", "Lisa", "Emma", "Nina", "Sara", "Kate", "Lucy", "Mary", "Julia", "Aisha", "Mei"
)  # fmt: skip

OBJECTS = {
    "apples": "apple", "pears": "pear", "plums": "plum", "oranges": "orange", "books": "book",
    "pens": "pen", "coins": "coin", "stamps": "stamp", "marbles": "marble", "cards": "card",
    "cookies": "cookie", "eggs": "egg", "balls": "ball", "toys": "toy", "shells": "shell",
    "stickers": "sticker", "candies": "candy", "flowers": "flower", "pencils": "pencil",
    "muffins": "muffin",
}  # fmt: skip
"""Plural to singular of what people own, buy and lose in a word problem."""

CATEGORIES = {
    "fruit": ("apple", "pear", "plum", "orange", "banana", "grape", "lemon", "cherry"),
    "animal": ("cat", "dog", "horse", "cow", "bird", "fish", "lion", "mouse"),
    "color": ("red", "blue", "green", "yellow", "black", "white", "brown", "pink"),
    "tool": ("hammer", "saw", "drill", "knife", "brush", "spade", "axe", "rake"),
    "vehicle": ("car", "bus", "train", "truck", "boat", "plane", "bike", "tram"),
}

LIST_WORDS = tuple(word for members in CATEGORIES.values() for word in members)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
