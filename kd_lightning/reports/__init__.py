"""What finished runs say side by side: tables, plots and one page, from the files that the runs wrote."""
