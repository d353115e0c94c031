"""Labeled data of four systems, and what a study of each of them says in its first hour."""
